"""What the voice tells of a turn, in tests."""

from __future__ import annotations

from typing import Any

from barnabee.store.turn_timings import TurnTimings

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
    """Return what was measured of turn `number` (see `support.turns`)."""
    fields = {
        **REPORT_BODY,
        "trace_id": f"{number:032x}",
        "created_at": "2100-03-01T00:00:00.000Z",
    }
    return TurnTimings(**{**fields, **changes})
