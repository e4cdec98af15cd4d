"""Turns to record in tests."""

from __future__ import annotations

from barnabee.store.conversations import Turn


def make_turn(number: int, **changes: object) -> Turn:
    """Return turn `number`; later numbers are later moments of one day.

    The day is far ahead, so that a worker with the real clock does not find them old.
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
    return Turn(**{**fields, **changes})  # type: ignore[arg-type]
