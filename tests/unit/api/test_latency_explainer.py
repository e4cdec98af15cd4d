"""Why was that slow: what cost the most first, in sentences."""

from __future__ import annotations

from typing import Any

from barnabee.api.latency_explainer import MAX_SENTENCES, explain_latency
from barnabee.store.waterfall import Bar, Fault, Waterfall


def fall(*bars: Bar, **fields: Any) -> Waterfall:
    faults = fields.pop("faults", ())
    return Waterfall("t", bars, 0, faults, fields.get("turn"), fields.get("spoken"))


def test_the_worst_stage_comes_first_and_a_span_only_when_nothing_inside_explains_it() -> None:
    bars = (
        Bar("first_audio", "voice", 0, 5000, 900),
        Bar("stt", "voice", 0, 900, 500),
        Bar("home", "api", 900, 3500, 500),
        Bar("intent", "api", 900, 20, 50),
    )
    assert explain_latency(fall(*bars)) == [
        "Home Assistant took 3.5 s; it should take 500 ms.",
        "Hearing what you said took 900 ms; it should take 500 ms.",
    ]
    assert explain_latency(fall(bars[0]))[0].startswith("The wait until the first sound of the answer took")


def test_what_was_missing_and_what_failed_is_named() -> None:
    told = explain_latency(
        fall(
            Bar("stt", "voice", 0, 100, 500),
            turn={"degraded": ["home_assistant"]},
            spoken={"degraded": ["gpu"], "interrupted": True},
            faults=[Fault("gpu", "vram_kept", "no room")],
        ),
        [{"event": "load", "model": "whisper"}],
    )
    assert told == [
        "A model had to be moved on the card first: whisper.",
        "It had to do without: gpu, home assistant.",
        "Somebody talked into the answer.",
        "gpu: no room (vram_kept).",
    ]


def test_a_quick_turn_says_so_and_nothing_is_said_of_nothing() -> None:
    assert explain_latency(fall(Bar("stt", "voice", 0, 100, 500))) == ["Every stage was within its budget."]
    assert explain_latency(fall()) == []


def test_there_are_never_too_many() -> None:
    assert len(explain_latency(fall(*(Bar(f"s{n}", "api", 0, 100 + n, 1) for n in range(20))))) == MAX_SENTENCES
