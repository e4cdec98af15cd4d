"""Latency explanations: why a turn was slow, in sentences. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from barnabee.store.waterfall import Bar, Waterfall

# Titles of stages in sentences and on the dashboard; other stages are shown by their key.
STAGE_TITLES = {
    "wake": "Wake word detection",
    "vad": "End-of-speech detection",
    "stt": "Speech recognition",
    "command": "Processing the command",
    "intent": "Recognizing the intent",
    "memory": "Looking up notes",
    "home": "Home Assistant",
    "llm": "The language model",
    "llm_first_token": "The language model's first word",
    "session": "Loading the conversation",
    "store": "Saving the turn",
    "tts": "Speech synthesis",
    "tts_first_byte": "Starting speech synthesis",
    "first_audio": "The time until the first sound of the reply",
}
# Stages that contain others: named only if no contained stage explains the time.
COMPOSITE_STAGES = frozenset({"first_audio", "command"})
LOADING_EVENTS = frozenset({"load", "loaded", "model_loaded", "evict", "unloaded"})
MAX_SENTENCES = 5


def explain_latency(waterfall: Waterfall, records: Iterable[Mapping[str, Any]] = ()) -> list[str]:
    """Return at most `MAX_SENTENCES` sentences, the stage furthest over its budget first."""
    over = sorted(
        (bar for bar in waterfall.bars if bar.is_over_budget), key=_excess_ms, reverse=True
    )
    inner = [bar for bar in over if bar.stage not in COMPOSITE_STAGES]
    sentences = [_describe_stage(bar) for bar in (inner or over)]
    sentences += _describe_events(waterfall, list(records))
    if not sentences and waterfall.bars:
        sentences = ["Every stage was within its budget."]
    return list(dict.fromkeys(sentences))[:MAX_SENTENCES]


def _excess_ms(bar: Bar) -> float:
    return bar.took_ms - (bar.budget_ms or 0)


def _describe_stage(bar: Bar) -> str:
    title = STAGE_TITLES.get(bar.stage, bar.stage)
    budget = _format_ms(bar.budget_ms or 0)
    return f"{title} took {_format_ms(bar.took_ms)}; its budget is {budget}."


def _describe_events(waterfall: Waterfall, records: list[Mapping[str, Any]]) -> list[str]:
    timings, turn = waterfall.timings or {}, waterfall.turn or {}
    sentences = [
        f"A model had to be loaded or unloaded first: {record['model']}."
        for record in records
        if record.get("event") in LOADING_EVENTS and record.get("model")
    ]
    missing = sorted({*turn.get("degraded", ()), *timings.get("degraded", ())})
    if missing:
        sentences.append(f"Not available: {', '.join(missing).replace('_', ' ')}.")
    if timings.get("interrupted"):
        sentences.append("The user interrupted the reply.")
    sentences += [f"{one.service}: {one.message} ({one.code})." for one in waterfall.faults]
    return sentences


def _format_ms(ms: float) -> str:
    return f"{ms / 1000:.1f} s" if ms >= 1000 else f"{ms:.0f} ms"  # noqa: PLR2004 - one second
