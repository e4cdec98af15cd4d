"""One turn as bars over a common time axis: from its record and from the log. Pure.

Where a bar begins: the voice's stages count from the moment the person stopped speaking; the api's
follow one another from the moment the command came; a line of the log ends its bar when it was
written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

# The api's stages in their order; those of `_INSIDE` lie within the one they name.
_API_ORDER = ("session", "intent", "memory", "home", "llm", "store")
_INSIDE = {"llm_first_token": "llm"}
_NO_STAGES = frozenset({"total", *_INSIDE})


@dataclass(frozen=True, slots=True)
class Bar:
    """One stage: `at_ms` from the beginning of the turn; over its budget when there is one."""

    stage: str
    service: str
    at_ms: float
    took_ms: float
    budget_ms: int | None = None

    @property
    def over(self) -> bool:
        """Return whether it took longer than it should."""
        return self.budget_ms is not None and self.took_ms > self.budget_ms


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that went wrong on the way."""

    service: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Waterfall:
    """All of a turn."""

    trace_id: str
    bars: Sequence[Bar]
    total_ms: float
    faults: Sequence[Fault]
    turn: Mapping[str, Any] | None
    spoken: Mapping[str, Any] | None

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "trace_id": self.trace_id,
            "total_ms": self.total_ms,
            "stages": [asdict(bar) | {"over_budget": bar.over} for bar in self.bars],
            "errors": [asdict(fault) for fault in self.faults],
            "turn": self.turn,
            "spoken": self.spoken,
        }


def layout(
    trace_id: str,
    turn: Mapping[str, Any] | None,
    spoken: Mapping[str, Any] | None,
    lines: Iterable[Mapping[str, Any]],
    budgets_ms: Mapping[str, int],
) -> Waterfall:
    """Return the bars, earliest first, counted from the first of them.

    `turn` and `spoken` are as the api tells them, `lines` the turn's lines of the log.
    """
    lines = list(lines)
    measured = _voice(spoken) if spoken else []
    own = {bar.stage for bar in measured}
    command = turn or _unkept(lines)
    found = [*measured, *(_api(command, own) if command else []), *_log(lines)]
    start_ms = min((bar.at_ms for bar in found), default=0.0)
    bars = [
        Bar(
            bar.stage,
            bar.service,
            round(bar.at_ms - start_ms, 1),
            bar.took_ms,
            budgets_ms.get(bar.stage) if _has_budget(bar, own) else None,
        )
        for bar in sorted(found, key=lambda bar: (bar.at_ms, -bar.took_ms))
    ]
    total_ms = round(max((bar.at_ms + bar.took_ms for bar in bars), default=0.0), 1)
    return Waterfall(trace_id, bars, total_ms, _faults(spoken, lines), turn, spoken)


def _voice(spoken: Mapping[str, Any]) -> list[Bar]:
    zero_ms = _ms(spoken["said_at"])
    return [
        Bar(stage, "voice", zero_ms + times["at_ms"], times["took_ms"])
        for stage, times in spoken["stages"].items()
    ]


def _api(turn: Mapping[str, Any], measured: set[str]) -> list[Bar]:
    """Return the api's stages one after the other; `measured` are those the voice told of."""
    at_ms, took = _ms(turn["created_at"]), turn["latency_ms"]
    bars, begins = list[Bar](), dict[str, float]()
    known = [stage for stage in _API_ORDER if stage in took]
    others = [stage for stage in took if stage not in {*_API_ORDER, *_NO_STAGES}]
    for stage in (*known, *others):
        begins[stage] = at_ms
        if stage not in measured:
            bars.append(Bar(stage, "api", at_ms, took[stage]))
        at_ms += took[stage]
    for stage, outer in _INSIDE.items():
        if stage in took and outer in begins:
            bars.append(Bar(stage, "api", begins[outer], took[stage]))
    return bars


def _unkept(lines: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Return what the log has of a command that is not in the record, such as the probe's."""
    for line in lines:
        took, whole_ms = line.get("stages_ms"), line.get("latency_ms")
        if not isinstance(took, dict) or not isinstance(whole_ms, int | float):
            continue
        if line.get("event") == "request" and _is_time(line.get("timestamp")):
            begun = datetime.fromtimestamp((_ms(line["timestamp"]) - whole_ms) / 1000, UTC)
            return {"created_at": begun.isoformat(), "latency_ms": took}
    return None


def _log(lines: Iterable[Mapping[str, Any]]) -> list[Bar]:
    """Return what the inference service did, by the lines it wrote when it was done."""
    return [
        Bar(
            str(line.get("stage") or "inference"),
            str(line["component"]),
            _ms(line["timestamp"]) - line["latency_ms"],
            line["latency_ms"],
        )
        for line in lines
        if line.get("event") == "inference"
        and isinstance(line.get("latency_ms"), int | float)
        and _is_time(line.get("timestamp"))
    ]


def _has_budget(bar: Bar, measured: set[str]) -> bool:
    """Return whether the budget is this bar's: the voice's measure of a stage comes first."""
    return bar.service != "gpu" or bar.stage not in measured


def _faults(spoken: Mapping[str, Any] | None, lines: Iterable[Mapping[str, Any]]) -> list[Fault]:
    told = [
        Fault(str(line["component"]), str(line.get("code") or "error"), _message(line))
        for line in lines
        if line.get("code") or line.get("level") in {"error", "critical"}
    ]
    if spoken and spoken.get("code"):
        told.append(Fault("voice", spoken["code"], "the turn failed"))
    return list(dict.fromkeys(told))


def _message(line: Mapping[str, Any]) -> str:
    event = str(line.get("event") or "")
    more = line.get("reason") or line.get("message") or line.get("route") or ""
    return f"{event}: {more}" if more else event


def _ms(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp() * 1000


def _is_time(moment: object) -> bool:
    try:
        datetime.fromisoformat(str(moment))
    except ValueError:
        return False
    return True
