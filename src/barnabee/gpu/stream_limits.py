"""The streams that are open: how many there may be, and how all of them are ended.

A stream lasts as long as a microphone is plugged in, so the end of the service has to reach it from
outside: its one timeout, which ends it when nothing comes any more, is brought forward.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from barnabee.core.errors import DependencyDown, Overloaded

END_WITHIN_S = 0.5


@dataclass(eq=False)
class Place:
    """One stream's place; the stream enters `limit` and is ended by its TimeoutError."""

    limit: asyncio.Timeout = field(default_factory=lambda: asyncio.timeout(None))
    ending: bool = False

    def goes_on(self, within_s: float) -> None:
        """Say that the stream is alive, and will be heard of again within so many seconds."""
        if not self.ending:
            self.limit.reschedule(asyncio.get_running_loop().time() + within_s)

    def end(self) -> None:
        """End the stream now."""
        self.ending = True
        with suppress(RuntimeError):  # not entered yet, or left already
            self.limit.reschedule(0)


class Streams:
    """Places for at most `most` streams."""

    def __init__(self, most: int, show: Callable[[int], None]) -> None:
        """Begin with none; `show` is told how many there are whenever that changes."""
        self._most, self._show = most, show
        self._ending = False
        self._open: set[Place] = set()
        self._empty = asyncio.Event()
        self._empty.set()

    @contextmanager
    def place(self) -> Iterator[Place]:
        """Hold a place; Overloaded when there is none, DependencyDown when the service ends."""
        if self._ending:
            raise DependencyDown(dependency="wake", reason="the service is ending")
        if len(self._open) >= self._most:
            raise Overloaded(what=f"wake ({self._most} streams are open)", retry_after_s=5)
        place = Place()
        self._open.add(place)
        self._changed()
        try:
            yield place
        finally:
            self._open.discard(place)
            self._changed()

    async def end(self) -> None:
        """Take no more, end those that are open, and give them a moment to say so."""
        self._ending = True
        for place in self._open:
            place.end()
        with suppress(TimeoutError):
            async with asyncio.timeout(END_WITHIN_S):
                await self._empty.wait()

    def _changed(self) -> None:
        self._show(len(self._open))
        if self._open:
            self._empty.clear()
        else:
            self._empty.set()
