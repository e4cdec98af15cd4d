"""Explanations of slow turns."""

from __future__ import annotations

from typing import Any

from barnabee.store.waterfall import MAX_SENTENCES, Bar, Fault, Waterfall, explain_latency


def make_waterfall(*bars: Bar, **fields: Any) -> Waterfall:
    faults = fields.pop("faults", ())
    return Waterfall("t", bars, 0, faults, fields.get("turn"), fields.get("spoken"))


def test_slowest_stage_is_first_and_composite_stages_are_a_fallback() -> None:
    bars = (
        Bar("first_audio", "voice", 0, 5000, 900),
        Bar("stt", "voice", 0, 900, 500),
        Bar("home", "api", 900, 3500, 500),
        Bar("intent", "api", 900, 20, 50),
    )
    assert explain_latency(make_waterfall(*bars)) == [
        "Home Assistant took 3.5 s; its budget is 500 ms.",
        "Speech recognition took 900 ms; its budget is 500 ms.",
    ]
    assert explain_latency(make_waterfall(bars[0]))[0].startswith(
        "The time until the first sound of the reply took"
    )


def test_missing_dependencies_and_errors_are_named() -> None:
    sentences = explain_latency(
        make_waterfall(
            Bar("stt", "voice", 0, 100, 500),
            turn={"degraded": ["home_assistant"]},
            spoken={"degraded": ["gpu"], "interrupted": True},
            faults=[Fault("gpu", "vram_kept", "no room")],
        ),
        [{"event": "load", "model": "whisper"}],
    )
    assert sentences == [
        "A model had to be loaded or unloaded first: whisper.",
        "Not available: gpu, home assistant.",
        "The user interrupted the reply.",
        "gpu: no room (vram_kept).",
    ]


def test_fast_turn_and_empty_waterfall() -> None:
    assert explain_latency(make_waterfall(Bar("stt", "voice", 0, 100, 500))) == [
        "Every stage was within its budget."
    ]
    assert explain_latency(make_waterfall()) == []


def test_number_of_sentences_is_limited() -> None:
    assert (
        len(
            explain_latency(
                make_waterfall(*(Bar(f"s{n}", "api", 0, 100 + n, 1) for n in range(20)))
            )
        )
        == MAX_SENTENCES
    )
