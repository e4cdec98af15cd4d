"""Waterfall of one turn: its stages on a common time axis, and why it was slow.

The voice service's stages count from the end of speech; the api's follow one another from the
arrival of the command; a log line marks the end of its stage.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

# The api's stages in order; a stage in `_INSIDE` is part of the one that it maps to.
_API_ORDER = ("session", "intent", "memory", "home", "llm", "store")
_INSIDE = {"llm_first_token": "llm"}
_NO_STAGES = frozenset({"total", *_INSIDE})
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


@dataclass(frozen=True, slots=True)
class Bar:
    """One stage; `at_ms` counts from the start of the turn."""

    stage: str
    service: str
    at_ms: float
    took_ms: float
    budget_ms: int | None = None

    @property
    def is_over_budget(self) -> bool:
        return self.budget_ms is not None and self.took_ms > self.budget_ms


@dataclass(frozen=True, slots=True)
class Fault:
    """An error during the turn."""

    service: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Waterfall:
    """The stages and errors of one turn, earliest first."""

    trace_id: str
    bars: Sequence[Bar]
    total_ms: float
    faults: Sequence[Fault]
    turn: Mapping[str, Any] | None
    timings: Mapping[str, Any] | None

    def as_dict(self) -> dict[str, Any]:
        return {
            "trace_id": self.trace_id,
            "total_ms": self.total_ms,
            "stages": [asdict(bar) | {"over_budget": bar.is_over_budget} for bar in self.bars],
            "errors": [asdict(fault) for fault in self.faults],
            "turn": self.turn,
            "spoken": self.timings,
        }


def make_waterfall(
    trace_id: str,
    turn: Mapping[str, Any] | None,
    timings: Mapping[str, Any] | None,
    log_lines: Iterable[Mapping[str, Any]],
    budgets_ms: Mapping[str, int],
) -> Waterfall:
    """Return the waterfall; `turn` and `timings` are the api's JSON, `log_lines` the turn's log."""
    log_lines = list(log_lines)
    voice_bars = _voice_bars(timings) if timings else []
    measured = {bar.stage for bar in voice_bars}
    command = turn or _command_from_log(log_lines)
    api_bars = _api_bars(command, measured) if command else []
    all_bars = [*voice_bars, *api_bars, *_log_bars(log_lines)]
    start_ms = min((bar.at_ms for bar in all_bars), default=0.0)
    bars = [
        Bar(
            bar.stage,
            bar.service,
            round(bar.at_ms - start_ms, 1),
            bar.took_ms,
            budgets_ms.get(bar.stage) if _has_budget(bar, measured) else None,
        )
        for bar in sorted(all_bars, key=lambda bar: (bar.at_ms, -bar.took_ms))
    ]
    total_ms = round(max((bar.at_ms + bar.took_ms for bar in bars), default=0.0), 1)
    return Waterfall(trace_id, bars, total_ms, _list_faults(timings, log_lines), turn, timings)


def _voice_bars(timings: Mapping[str, Any]) -> list[Bar]:
    zero_ms = _epoch_ms(timings["said_at"])
    return [
        Bar(stage, "voice", zero_ms + times["at_ms"], times["took_ms"])
        for stage, times in timings["stages"].items()
    ]


def _api_bars(turn: Mapping[str, Any], measured: set[str]) -> list[Bar]:
    """Return the api's stages one after the other, without those that voice `measured`."""
    at_ms, took = _epoch_ms(turn["created_at"]), turn["latency_ms"]
    bars, starts_ms = list[Bar](), dict[str, float]()
    known = [stage for stage in _API_ORDER if stage in took]
    others = [stage for stage in took if stage not in {*_API_ORDER, *_NO_STAGES}]
    for stage in (*known, *others):
        starts_ms[stage] = at_ms
        if stage not in measured:
            bars.append(Bar(stage, "api", at_ms, took[stage]))
        at_ms += took[stage]
    for stage, outer in _INSIDE.items():
        if stage in took and outer in starts_ms:
            bars.append(Bar(stage, "api", starts_ms[outer], took[stage]))
    return bars


def _command_from_log(log_lines: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Return a command that is in the log only, such as one of the voice probe."""
    for line in log_lines:
        took, total_ms = line.get("stages_ms"), line.get("latency_ms")
        if not isinstance(took, dict) or not isinstance(total_ms, int | float):
            continue
        if line.get("event") == "request" and _is_time(line.get("timestamp")):
            start = datetime.fromtimestamp((_epoch_ms(line["timestamp"]) - total_ms) / 1000, UTC)
            return {"created_at": start.isoformat(), "latency_ms": took}
    return None


def _log_bars(log_lines: Iterable[Mapping[str, Any]]) -> list[Bar]:
    """Return the inference service's stages; it logs each when it is complete."""
    return [
        Bar(
            str(line.get("stage") or "inference"),
            str(line["component"]),
            _epoch_ms(line["timestamp"]) - line["latency_ms"],
            line["latency_ms"],
        )
        for line in log_lines
        if line.get("event") == "inference"
        and isinstance(line.get("latency_ms"), int | float)
        and _is_time(line.get("timestamp"))
    ]


def _has_budget(bar: Bar, measured: set[str]) -> bool:
    """Return whether a budget applies: a stage that voice measured is not judged by gpu's time."""
    return bar.service != "gpu" or bar.stage not in measured


def _list_faults(
    timings: Mapping[str, Any] | None, log_lines: Iterable[Mapping[str, Any]]
) -> list[Fault]:
    faults = [
        Fault(str(line["component"]), str(line.get("code") or "error"), _fault_message(line))
        for line in log_lines
        if line.get("code") or line.get("level") in {"error", "critical"}
    ]
    if timings and timings.get("code"):
        faults.append(Fault("voice", timings["code"], "the turn failed"))
    return list(dict.fromkeys(faults))


def _fault_message(line: Mapping[str, Any]) -> str:
    event = str(line.get("event") or "")
    detail = line.get("reason") or line.get("message") or line.get("route") or ""
    return f"{event}: {detail}" if detail else event


def _epoch_ms(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp() * 1000


def _is_time(moment: object) -> bool:
    try:
        datetime.fromisoformat(str(moment))
    except ValueError:
        return False
    return True


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
