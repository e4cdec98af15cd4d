"""What happened one evening, as lines of JSON: who asked for which model when, and the card's mood.

Three kinds of lines, in any order of time; `docs/reference/vram.md` shows them. Reads text, knows
nothing of the planner.
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


class Timed(BaseModel):
    """One line; `t_ms` counts from the beginning of the trace."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    t_ms: Millis


class Ask(Timed):
    """Somebody asks for a model and keeps it for `hold_ms`; `turn` names the sentence it is for."""

    event: Literal["ask"] = "ask"
    model: Text
    hold_ms: Millis
    session: Text
    turn: Text | None = None


class Others(Timed):
    """From now on other programs hold this much of the card."""

    event: Literal["others"]
    other_mib: Mib


class Measured(Timed):
    """From now on a model takes this at rest and at most, and leaves this behind when unloaded."""

    event: Literal["measured"]
    model: Text
    held_mib: Mib
    highest_mib: Mib
    left_mib: Mib = 0


Line = Ask | Others | Measured

_KINDS: dict[object, type[Line]] = {
    "ask": Ask,
    "others": Others,
    "measured": Measured,
}


def read(lines: Iterable[str], models: Collection[str], name: str = "trace") -> list[Line]:
    """Return the trace by time; BadInput names the first line that is not usable, and why."""
    found = [
        _line(text, models, f"{name} line {number}")
        for number, text in enumerate(lines, start=1)
        if text.strip()
    ]
    return sorted(found, key=lambda line: line.t_ms)


def _line(text: str, models: Collection[str], place: str) -> Line:
    try:
        data = json.loads(text)
    except ValueError as error:
        raise BadInput(what=f"{place} is not JSON: {error}") from error
    kind = _KINDS.get(data.get("event", "ask")) if isinstance(data, dict) else None
    if kind is None:
        raise BadInput(what=f"{place} is none of ask, others, measured")
    try:
        line = kind.model_validate(data)
    except ValidationError as error:
        detail = error.errors()[0]
        key = ".".join(str(part) for part in detail["loc"])
        raise BadInput(what=f"{place}: {key}: {detail['msg']}") from error
    if not isinstance(line, Others) and line.model not in models:
        raise BadInput(what=f"{place}: there is no model {line.model!r} in system.toml")
    return line
