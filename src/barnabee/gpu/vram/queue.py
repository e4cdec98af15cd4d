"""Who waits for a model, in which order, and who is turned away. Pure: values in, values out."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Request:
    """Somebody who asks for a model; a `turn` keeps it until its whole sentence is answered."""

    ticket: int
    model: str
    priority: int  # its model's: 1 is the most important
    session: str
    asked_ms: int
    deadline_ms: int
    turn: bool = False


def place(request: Request) -> tuple[int, int, int]:
    """Order: the most important first, then who asked first."""
    return (request.priority, request.asked_ms, request.ticket)


def ordered(waiting: Collection[Request]) -> list[Request]:
    """Return the line, first in front."""
    return sorted(waiting, key=place)


def admit(
    waiting: Collection[Request], newcomer: Request, depth: int
) -> tuple[tuple[Request, ...], Request | None]:
    """Return the line with the newcomer and who was turned away for it, if it was full.

    That is the last in line, not the last to come: a full line of unimportant requests must not
    keep an important one out.
    """
    line = ordered((*waiting, newcomer))
    if len(line) <= depth:
        return tuple(line), None
    return tuple(line[:-1]), line[-1]


def expired(waiting: Collection[Request], now_ms: int) -> list[Request]:
    """Return who has waited too long, first in front."""
    return [request for request in ordered(waiting) if request.deadline_ms <= now_ms]
