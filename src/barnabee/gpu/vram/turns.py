"""Registry of active turns, each of which holds leases of all models on its path."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from barnabee.core.errors import BarnabeeError

log = structlog.get_logger()


class AcquireLease(Protocol):
    """Waits for a lease and returns its ticket; raises when it is refused."""

    async def __call__(self, model: str, session: str, *, turn: bool) -> int: ...


@dataclass
class ActiveTurn:
    """Session of a turn and the leases it holds until `until_ms` at the latest."""

    session: str
    until_ms: int
    tickets: list[int] = field(default_factory=list)


class TurnRegistry:
    """Active turns by id."""

    def __init__(
        self, acquire: AcquireLease, release: Callable[[int], None], limit_ms: int
    ) -> None:
        self.limit_ms = limit_ms
        self._acquire, self._release = acquire, release
        self._open: dict[str, ActiveTurn] = {}

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[tuple[str, ActiveTurn]]:
        return iter(self._open.items())

    async def begin(
        self, turn: str, session: str, models: Iterable[str], *, now_ms: int
    ) -> list[str]:
        """Lease `models` for `session` until `end`; return those that were granted."""
        held = self._open.setdefault(turn, ActiveTurn(session, now_ms + self.limit_ms))
        granted = []
        for model in models:
            try:
                ticket = await self._acquire(model, session, turn=True)
            except BarnabeeError as error:
                log.warning("turn continues without model", engine=model, code=error.code)
                continue
            except BaseException:
                self.end(turn)
                raise
            if turn not in self._open:  # ended while waiting
                self._release(ticket)
                break
            held.tickets.append(ticket)
            granted.append(model)
        return granted

    def held_tickets(self) -> set[int]:
        """Return the tickets of all turns."""
        return {ticket for held in self._open.values() for ticket in held.tickets}

    def end(self, turn: str) -> bool:
        """Release a turn's leases; return whether it existed."""
        held = self._open.pop(turn, None)
        for ticket in held.tickets if held else ():
            self._release(ticket)
        return held is not None

    def end_overdue(self, now_ms: int) -> None:
        """End the turns past their time limit."""
        for turn in [name for name, held in self._open.items() if held.until_ms <= now_ms]:
            log.warning("turn never ended", code="timed_out", turn=turn)
            self.end(turn)
