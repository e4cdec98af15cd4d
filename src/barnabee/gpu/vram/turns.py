"""Turns: while somebody talks, every model on the way of their sentence stays on the card.

Takes and gives back leases like everybody else; decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from barnabee.core.errors import BarnabeeError

log = structlog.get_logger()


class Take(Protocol):
    """Waits for a model and returns the ticket of its lease; raises when it cannot be had."""

    async def __call__(self, model: str, session: str, *, turn: bool) -> int:
        """Take the lease."""


@dataclass
class Turn:
    """A session that talks, and what it holds until its sentence is answered."""

    session: str
    until_ms: int
    tickets: list[int] = field(default_factory=list)


class Turns:
    """The turns under way."""

    def __init__(self, take: Take, give: Callable[[int], None], limit_ms: int) -> None:
        """Take how leases are had and given back, and how long a turn may last."""
        self.limit_ms = limit_ms
        self._take, self._give = take, give
        self._open: dict[str, Turn] = {}

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._open)

    def __iter__(self) -> Iterator[tuple[str, Turn]]:
        """Yield each turn with its id."""
        return iter(self._open.items())

    async def begin(
        self, turn: str, session: str, models: Iterable[str], *, now_ms: int
    ) -> list[str]:
        """Keep `models` for `session` until `end`; return those that could be had."""
        held = self._open.setdefault(turn, Turn(session, now_ms + self.limit_ms))
        had = []
        for model in models:
            try:
                ticket = await self._take(model, session, turn=True)
            except BarnabeeError as error:
                log.warning("turn goes on without", engine=model, code=error.code)
                continue
            except BaseException:
                self.end(turn)
                raise
            if turn not in self._open:  # ended while it waited for this one
                self._give(ticket)
                break
            held.tickets.append(ticket)
            had.append(model)
        return had

    def tickets(self) -> set[int]:
        """Return the leases that all turns hold."""
        return {ticket for held in self._open.values() for ticket in held.tickets}

    def end(self, turn: str) -> bool:
        """Give back what a turn held; return whether there was one."""
        held = self._open.pop(turn, None)
        for ticket in held.tickets if held else ():
            self._give(ticket)
        return held is not None

    def end_overdue(self, now_ms: int) -> None:
        """End the turns that nobody has ended in time."""
        for turn in [name for name, held in self._open.items() if held.until_ms <= now_ms]:
            log.warning("turn never ended", code="timed_out", turn=turn)
            self.end(turn)
