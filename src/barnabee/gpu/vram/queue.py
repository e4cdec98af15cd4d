"""Requests that wait for a model, models to preload, and turns that hold leases.

The functions are pure; `WaitQueue` and `PreloadList` hold the ledger's state.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from barnabee.core.errors import BarnabeeError
from barnabee.gpu.vram.types import ModelRequest, Reservation

PRELOAD_RETRY_MS = 5_000  # wait after a failed load

log = structlog.get_logger()


def queue_order(request: ModelRequest) -> tuple[int, int, int]:
    """Sort key: the most important first, then the oldest."""
    return (request.priority, request.asked_ms, request.ticket)


def sort_requests(waiting: Collection[ModelRequest]) -> list[ModelRequest]:
    return sorted(waiting, key=queue_order)


def admit_request(
    waiting: Collection[ModelRequest], newcomer: ModelRequest, depth: int
) -> tuple[tuple[ModelRequest, ...], ModelRequest | None]:
    """Return the queue with the newcomer, and the request that a full queue rejects.

    That is the last in queue order, so that less important requests cannot block an important one.
    """
    requests = sort_requests((*waiting, newcomer))
    if len(requests) <= depth:
        return tuple(requests), None
    return tuple(requests[:-1]), requests[-1]


def find_expired(waiting: Collection[ModelRequest], now_ms: int) -> list[ModelRequest]:
    """Return the requests past their deadline, in queue order."""
    return [request for request in sort_requests(waiting) if request.deadline_ms <= now_ms]


@dataclass
class WaitQueue:
    """Waiting requests, the models they wait for, and the models closed to new sessions."""

    depth: int
    requests: tuple[ModelRequest, ...] = ()  # in order of arrival
    closed_models: frozenset[str] = frozenset()  # awaited by the first request
    _awaited: dict[int, tuple[str, ...]] = field(default_factory=dict)  # by ticket

    def __bool__(self) -> bool:
        return bool(self.requests)

    def __iter__(self) -> Iterator[ModelRequest]:
        return iter(sort_requests(self.requests))

    def add(self, newcomer: ModelRequest) -> ModelRequest | None:
        """Add a request; return the one that a full queue rejects."""
        self.requests, rejected = admit_request(self.requests, newcomer, self.depth)
        return rejected

    def remove(self, request: ModelRequest) -> None:
        """Remove a request if it is in the queue."""
        self._awaited.pop(request.ticket, None)
        self.requests = tuple(other for other in self.requests if other != request)

    def set_awaited(self, request: ModelRequest, models: tuple[str, ...]) -> bool:
        """Close the awaited models to new sessions; return whether they have changed."""
        self.closed_models = frozenset(models)
        changed = self._awaited.get(request.ticket) != models
        self._awaited[request.ticket] = models
        return changed


class PreloadList:
    """Models to preload, without those unloaded on request, and when to retry failed loads."""

    def __init__(self) -> None:
        self._excluded: set[str] = set()  # unloaded on request; until the next request for them
        self._retry_ms: dict[str, int] = {}
        self._refusals: dict[str, str] = {}  # last refusal code by model

    def sort_models(self, reservations: Iterable[Reservation]) -> list[str]:
        """Return the names of the models to preload: by importance, the largest first."""
        wanted = [one for one in reservations if one.preload and one.name not in self._excluded]
        wanted.sort(key=lambda one: (one.priority, -one.charge_mib, one.name))
        return [one.name for one in wanted]

    def exclude(self, model: str) -> None:
        self._excluded.add(model)

    def record_failure(self, model: str, now_ms: int) -> None:
        self._retry_ms[model] = now_ms + PRELOAD_RETRY_MS

    def is_backing_off(self, model: str, now_ms: int) -> bool:
        return self._retry_ms.get(model, now_ms) > now_ms

    def record_refusal(self, model: str, code: str) -> bool:
        """Record that a model does not fit; return whether the code has changed."""
        changed = self._refusals.get(model) != code
        self._refusals[model] = code
        return changed

    def record_load(self, model: str) -> None:
        self._refusals.pop(model, None)
        self._excluded.discard(model)


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
