"""Who waits for a model, in which order, and who is turned away.

The functions are pure: values in, values out; `Line` keeps who waits now.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field


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


@dataclass
class Line:
    """Who waits, what each was told to wait for, and which models newcomers may not have."""

    depth: int
    requests: tuple[Request, ...] = ()  # in no order but that of coming
    barred: frozenset[str] = frozenset()  # what the first waits for would never come back else
    _told: dict[int, tuple[str, ...]] = field(default_factory=dict)  # by ticket

    def __bool__(self) -> bool:
        """Return whether anybody waits."""
        return bool(self.requests)

    def __iter__(self) -> Iterator[Request]:
        """Yield who waits, first in front."""
        return iter(ordered(self.requests))

    def join(self, newcomer: Request) -> Request | None:
        """Let somebody in; return who was turned away for it, if the line was full."""
        self.requests, away = admit(self.requests, newcomer, self.depth)
        return away

    def leave(self, request: Request) -> None:
        """Let somebody go, who need not be in line."""
        self._told.pop(request.ticket, None)
        self.requests = tuple(other for other in self.requests if other != request)

    def tell(self, request: Request, models: tuple[str, ...]) -> bool:
        """Bar what somebody waits for to newcomers; return whether that is news to them."""
        self.barred = frozenset(models)
        news = self._told.get(request.ticket) != models
        self._told[request.ticket] = models
        return news
