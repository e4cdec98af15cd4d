"""The rooms that are connected: one microphone to each, so many in all.

A room that connects again replaces its old connection: a page that was reloaded, or a satellite
that was restarted, must not wait for its own ghost to be noticed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from barnabee.core.errors import BarnabeeError, DependencyDown, Overloaded, Replaced

END_WITHIN_S = 2.0
RETRY_AFTER_S = 5


@dataclass(eq=False)
class Place:
    """One room's place; whoever holds it leaves when `ended` is set, and says `why`."""

    room: str
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    why: BarnabeeError | None = None
    state: str = "asleep"
    since_s: float = field(default_factory=time.time)

    def show(self, state: str) -> None:
        """Remember what the room is doing now."""
        self.state, self.since_s = state, time.time()

    def end(self, why: BarnabeeError | None = None) -> None:
        """Ask whoever holds the place to leave; the first reason counts."""
        if not self.ended.is_set():
            self.why = why
            self.ended.set()


class Rooms:
    """Places for at most `most` rooms."""

    def __init__(self, most: int, show: Callable[[int], None]) -> None:
        """Begin with none; `show` is told how many there are whenever that changes."""
        self._most, self._show = most, show
        self._places: dict[str, Place] = {}
        self._all: set[Place] = set()
        self._ending = False
        self._empty = asyncio.Event()
        self._empty.set()

    def check(self, room: str) -> None:
        """Return when `room` would get a place; Overloaded when all are taken."""
        if self._ending:
            raise DependencyDown(dependency="voice", reason="the service is ending")
        if room not in self._places and len(self._places) >= self._most:
            what = f"voice ({self._most} rooms are connected)"
            raise Overloaded(what=what, retry_after_s=RETRY_AFTER_S)

    @contextmanager
    def place(self, room: str) -> Iterator[Place]:
        """Hold the room's place; whoever had it is asked to leave."""
        self.check(room)
        place = Place(room)
        before = self._places.get(room)
        if before is not None:
            before.end(Replaced(room=room))
        self._places[room] = place
        self._all.add(place)
        self._changed()
        try:
            yield place
        finally:
            self._all.discard(place)
            if self._places.get(room) is place:
                del self._places[room]
            self._changed()

    def all(self) -> list[Place]:
        """Return the places that are taken, by the names of their rooms."""
        return sorted(self._places.values(), key=lambda place: place.room)

    async def end(self) -> None:
        """Take no more, ask all to leave, and give them a moment to say so."""
        self._ending = True
        for place in list(self._all):
            place.end(DependencyDown(dependency="voice", reason="the service is ending"))
        with suppress(TimeoutError):
            async with asyncio.timeout(END_WITHIN_S):
                await self._empty.wait()

    def _changed(self) -> None:
        self._show(len(self._places))
        (self._empty.clear if self._all else self._empty.set)()
