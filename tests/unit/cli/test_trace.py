from __future__ import annotations

from typing import Any

import pytest

from barnabee.cli.trace import draw_waterfall
from barnabee.store.waterfall import make_waterfall

TRACE = "a" * 32
BUDGETS = {"stt": 500, "intent": 50, "vad": 300, "llm": 1500}
TURN: dict[str, Any] = {
    "trace_id": TRACE,
    "utterance": "what time is it",
    "reply": "It's five.",
    "intent": "time",
    "degraded": ["llm"],
    "latency_ms": {"session": 1.0, "intent": 60.0, "total": 61.0},
    "created_at": "2026-01-01T00:00:01.000Z",
}
SPOKEN: dict[str, Any] = {
    "trace_id": TRACE,
    "room": "kitchen",
    "said_at": "2026-01-01T00:00:00.000Z",
    "stages": {
        "wake": {"at_ms": -1000.0, "took_ms": 100.0},
        "vad": {"at_ms": 0.0, "took_ms": 200.0},
        "stt": {"at_ms": 200.0, "took_ms": 700.0},
    },
    "engine": "whisper",
    "filler": "thinking_1",
    "interrupted": True,
    "heard": "It's",
    "degraded": ["parakeet"],
    "code": None,
}


def inference(stage: str, at: str, latency_ms: float, **more: Any) -> dict[str, Any]:
    line = {"component": "gpu", "event": "inference", "level": "info", "stage": stage}
    return line | {"timestamp": f"2026-01-01T00:00:{at}Z", "latency_ms": latency_ms} | more


def shown(*parts: Any) -> list[tuple[str, str, float, float, bool]]:
    fall = make_waterfall(TRACE, *parts, BUDGETS)
    return [
        (bar.service, bar.stage, bar.at_ms, bar.took_ms, bar.is_over_budget) for bar in fall.bars
    ]


@pytest.mark.parametrize(
    ("turn", "spoken", "lines", "expected"),
    [
        (None, None, [], []),
        (
            TURN,
            None,
            [],
            [("api", "session", 0.0, 1.0, False), ("api", "intent", 1.0, 60.0, True)],
        ),
        (
            None,
            SPOKEN,
            [],
            [
                ("voice", "wake", 0.0, 100.0, False),
                ("voice", "vad", 1000.0, 200.0, False),
                ("voice", "stt", 1200.0, 700.0, True),
            ],
        ),
        (
            TURN,
            SPOKEN,
            [inference("stt", "00.880", 650.0), inference("tts", "02.000", 400.0)],
            [
                ("voice", "wake", 0.0, 100.0, False),
                ("voice", "vad", 1000.0, 200.0, False),
                ("voice", "stt", 1200.0, 700.0, True),
                ("gpu", "stt", 1230.0, 650.0, False),  # the budget is the voice's
                ("api", "session", 2000.0, 1.0, False),
                ("api", "intent", 2001.0, 60.0, True),
                ("gpu", "tts", 2600.0, 400.0, False),
            ],
        ),
        (
            None,
            None,
            [inference("stt", "00.650", 650.0)],
            [("gpu", "stt", 0.0, 650.0, True)],
        ),
        (
            None,
            None,
            [
                {
                    **inference("command", "01.100", 100.0, event="request", component="api"),
                    "stages_ms": {"intent": 60.0, "total": 90.0},
                },
                inference("stt", "00.900", 650.0),
            ],
            [("gpu", "stt", 0.0, 650.0, True), ("api", "intent", 750.0, 60.0, True)],
        ),
        (
            TURN | {"latency_ms": {"llm": 9.0, "llm_first_token": 4.0, "new": 1.0}},
            None,
            [],
            [
                ("api", "llm", 0.0, 9.0, False),
                ("api", "llm_first_token", 0.0, 4.0, False),
                ("api", "new", 9.0, 1.0, False),
            ],
        ),
        (
            None,
            None,
            [
                inference("stt", "00.650", 650.0) | {"latency_ms": None},
                inference("stt", "00.650", 650.0, timestamp="never"),
                inference("stt", "00.650", 650.0, event="request"),
            ],
            [],
        ),
    ],
    ids=["nothing", "typed", "heard only", "whole", "log only", "not kept", "inside", "rubbish"],
)
def test_bars_share_one_time_axis(turn: Any, spoken: Any, lines: Any, expected: Any) -> None:
    assert shown(turn, spoken, lines) == expected


def test_a_stage_measured_by_voice_is_drawn_once() -> None:
    stages = {"intent": {"at_ms": 1000.0, "took_ms": 62.0}}
    found = shown(TURN, SPOKEN | {"stages": stages}, [])

    assert {bar[:2] for bar in found} == {("voice", "intent"), ("api", "session")}


def test_total_spans_from_the_first_start_to_the_last_end() -> None:
    assert make_waterfall(TRACE, TURN, SPOKEN, [], BUDGETS).total_ms == 2061.0
    assert make_waterfall(TRACE, None, None, [], BUDGETS).total_ms == 0.0


def test_each_error_is_listed_once_with_its_code() -> None:
    line = {"component": "api", "event": "request", "level": "info", "code": "dependency_down"}
    lines = [line, line, {"component": "gpu", "event": "boom", "level": "error"}]
    fall = make_waterfall(TRACE, None, SPOKEN | {"code": "deaf"}, lines, BUDGETS)

    assert [(one.service, one.code) for one in fall.faults] == [
        ("api", "dependency_down"),
        ("gpu", "error"),
        ("voice", "deaf"),
    ]


def test_text_shows_the_turn_and_exceeded_budgets() -> None:
    lines = draw_waterfall(make_waterfall(TRACE, TURN, SPOKEN, [], BUDGETS), width=20)
    text = "\n".join(lines)

    assert "filler    thinking_1" in text
    assert "barge-in  heard up to: It's" in text
    assert "degraded  llm, parakeet" in text
    assert "over its budget of 500 ms" in text
    assert "total 2061.0 ms" in text
    bars = [line for line in lines if "|" in line]
    assert bars[0] == "voice wake     |#                   |      0.0 +100.0 ms"
    assert {line.index("|") for line in bars} == {15}
    assert {line.rindex("|") for line in bars} == {36}


def test_json_form_has_stages_and_records() -> None:
    found = make_waterfall(TRACE, TURN, SPOKEN, [], BUDGETS).as_dict()

    assert found["stages"][2] == {
        "stage": "stt",
        "service": "voice",
        "at_ms": 1200.0,
        "took_ms": 700.0,
        "budget_ms": 500,
        "over_budget": True,
    }
    assert (found["turn"], found["spoken"], found["errors"]) == (TURN, SPOKEN, [])
