"""Why was that slow? A turn's waterfall in sentences, what cost the most first. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from barnabee.store.waterfall import Bar, Waterfall

# What a stage is called in a sentence; one that is not here is called by its name.
WORDS = {
    "wake": "Noticing the wake word",
    "vad": "Noticing that you were done",
    "stt": "Hearing what you said",
    "command": "Finding out what to do",
    "intent": "Understanding",
    "memory": "Remembering",
    "home": "Home Assistant",
    "llm": "The language model",
    "llm_first_token": "The language model's first word",
    "session": "Recalling the conversation",
    "store": "Writing it down",
    "tts": "Speaking",
    "tts_first_byte": "Beginning to speak",
    "first_audio": "The wait until the first sound of the answer",
}
# Spans that are made of others: named only when nothing inside them explains the time.
SPANS = frozenset({"first_audio", "command"})
LOADING = frozenset({"load", "loaded", "model_loaded", "evict", "unloaded"})
MOST = 5


def why(fall: Waterfall, lines: Iterable[Mapping[str, Any]] = ()) -> list[str]:
    """Return at most five sentences; one that says so when nothing was slow."""
    over = sorted((bar for bar in fall.bars if bar.is_over_budget), key=_excess, reverse=True)
    inner = [bar for bar in over if bar.stage not in SPANS]
    told = [_over(bar) for bar in (inner or over)]
    told += _reasons(fall, list(lines))
    if not told and fall.bars:
        told = ["Every stage was within its budget."]
    return list(dict.fromkeys(told))[:MOST]


def _excess(bar: Bar) -> float:
    return bar.took_ms - (bar.budget_ms or 0)


def _over(bar: Bar) -> str:
    name = WORDS.get(bar.stage, bar.stage)
    return f"{name} took {_time(bar.took_ms)}; it should take {_time(bar.budget_ms or 0)}."


def _reasons(fall: Waterfall, lines: list[Mapping[str, Any]]) -> list[str]:
    spoken, turn = fall.timings or {}, fall.turn or {}
    told = [
        f"A model had to be moved on the card first: {line['model']}."
        for line in lines
        if line.get("event") in LOADING and line.get("model")
    ]
    missing = sorted({*turn.get("degraded", ()), *spoken.get("degraded", ())})
    if missing:
        told.append(f"It had to do without: {', '.join(missing).replace('_', ' ')}.")
    if spoken.get("interrupted"):
        told.append("Somebody talked into the answer.")
    told += [f"{fault.service}: {fault.message} ({fault.code})." for fault in fall.faults]
    return told


def _time(ms: float) -> str:
    return f"{ms / 1000:.1f} s" if ms >= 1000 else f"{ms:.0f} ms"  # noqa: PLR2004 - one second
