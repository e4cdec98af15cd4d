"""An engine in use: its jobs go through its line, and what they cost adds up.

Knows engines only by their protocol.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from barnabee.gpu.engines.protocols import Engine
from barnabee.gpu.lane import Lane

E = TypeVar("E", bound=Engine)
T = TypeVar("T")
_END = object()


@dataclass
class Use(Generic[E]):
    """An engine while somebody uses it, and what the use has cost so far."""

    engine: E
    _lane: Lane
    queue_s: float = 0.0
    inference_s: float = 0.0
    audio_s: float | None = None

    async def call(self, job: Callable[[], T]) -> T:
        """Run one job on the engine's thread."""
        timed = await self._lane.run(job)
        self.queue_s += timed.waited_s
        self.inference_s += timed.took_s
        return timed.value

    async def each(self, make: Callable[[], Iterable[T]]) -> AsyncIterator[T]:
        """Step through an iterable on the engine's thread; others get their turn between steps."""
        iterator: Iterator[T] = await self.call(lambda: iter(make()))
        while (item := await self.call(lambda: next(iterator, _END))) is not _END:
            yield item  # type: ignore[misc]
