"""Request traces for the simulation: one JSON object per line, in any order.

`docs/reference/vram.md` shows the three kinds of events.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from barnabee.core.errors import BadInput

Millis = Annotated[int, Field(ge=0, le=10**12)]
Mib = Annotated[int, Field(ge=0, le=1_048_576)]
Text = Annotated[str, Field(min_length=1)]


class TimedEvent(BaseModel):
    """Event of a trace; `t_ms` counts from the start of the trace."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    t_ms: Millis


class RequestEvent(TimedEvent):
    """Request for a model, used for `hold_ms`; requests with the same `turn` are one turn."""

    event: Literal["ask"] = "ask"
    model: Text
    hold_ms: Millis
    session: Text
    turn: Text | None = None


class OtherProgramsEvent(TimedEvent):
    """Memory held by other programs from now on."""

    event: Literal["others"]
    other_mib: Mib


class MeasurementEvent(TimedEvent):
    """Memory of a model from now on: at rest, at its peak, and not freed by an unload."""

    event: Literal["measured"]
    model: Text
    held_mib: Mib
    highest_mib: Mib
    left_mib: Mib = 0


TraceEvent = RequestEvent | OtherProgramsEvent | MeasurementEvent

_EVENT_TYPES: dict[object, type[TraceEvent]] = {
    "ask": RequestEvent,
    "others": OtherProgramsEvent,
    "measured": MeasurementEvent,
}


def read_trace(
    lines: Iterable[str], models: Collection[str], name: str = "trace"
) -> list[TraceEvent]:
    """Return the events by time; BadInput names the first invalid line and the reason."""
    events = [
        _parse_line(text, models, f"{name} line {number}")
        for number, text in enumerate(lines, start=1)
        if text.strip()
    ]
    return sorted(events, key=lambda event: event.t_ms)


def _parse_line(text: str, models: Collection[str], location: str) -> TraceEvent:
    try:
        data = json.loads(text)
    except ValueError as error:
        raise BadInput(what=f"{location} is not JSON: {error}") from error
    kind = _EVENT_TYPES.get(data.get("event", "ask")) if isinstance(data, dict) else None
    if kind is None:
        raise BadInput(what=f"{location} has no event ask, others or measured")
    try:
        event = kind.model_validate(data)
    except ValidationError as error:
        detail = error.errors()[0]
        key = ".".join(str(part) for part in detail["loc"])
        raise BadInput(what=f"{location}: {key}: {detail['msg']}") from error
    if not isinstance(event, OtherProgramsEvent) and event.model not in models:
        raise BadInput(what=f"{location}: there is no model {event.model!r} in system.toml")
    return event
