"""Recorded turns for tests."""

from __future__ import annotations

from barnabee.store.conversations import TurnRecord


def make_turn(number: int, **changes: object) -> TurnRecord:
    """Return turn `number`; higher numbers are later on one day.

    The day is in the future, so that retention does not delete the turns.
    """
    minute, second = divmod(number, 60)
    fields: dict[str, object] = {
        "trace_id": f"{number:032x}",
        "session_id": "kitchen",
        "speaker": None,
        "utterance": f"utterance {number}",
        "reply": f"reply {number}",
        "intent": "chat",
        "actions": [],
        "degraded": [],
        "latency_ms": {},
        "created_at": f"2100-03-01T{minute // 60:02}:{minute % 60:02}:{second:02}.000Z",
    }
    return TurnRecord(**{**fields, **changes})  # type: ignore[arg-type]
