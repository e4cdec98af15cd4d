"""Turns and turn timings for tests."""

from __future__ import annotations

from typing import Any

from barnabee.store.conversations import TurnRecord
from barnabee.store.turn_timings import TurnTimings


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


REPORT_BODY: dict[str, Any] = {
    "room": "kitchen",
    "said_at": "2026-01-01T00:00:00.000Z",
    "stages": {
        "wake": {"at_ms": -1500.0, "took_ms": 80.0},
        "vad": {"at_ms": 0.0, "took_ms": 210.5},
        "stt": {"at_ms": 210.5, "took_ms": 640.0},
    },
    "engine": "parakeet",
    "filler": "acknowledgment_2",
    "interrupted": True,
    "heard": "It is twenty",
    "degraded": ["llm"],
    "code": None,
}


def make_turn_timings(number: int, **changes: object) -> TurnTimings:
    """Return the timings of turn `number` (see `support.turn_records`)."""
    fields = {
        **REPORT_BODY,
        "trace_id": f"{number:032x}",
        "created_at": "2100-03-01T00:00:00.000Z",
    }
    return TurnTimings(**{**fields, **changes})
