"""An engine in use: its jobs go through its line, and what they cost adds up.

An inference that takes longer than the engine's limit is left behind, and one that runs out of
memory is tried once more after room was made. Knows engines only by their protocol.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

import structlog

from barnabee.core.errors import VramExhausted
from barnabee.gpu.engines.protocols import Engine
from barnabee.gpu.model_runtime import Slot

E = TypeVar("E", bound=Engine)
T = TypeVar("T")
_END = object()

log = structlog.get_logger()


@dataclass
class Use(Generic[E]):
    """An engine while somebody uses it, and what the use has cost so far."""

    engine: E
    slot: Slot[E]
    make_room: Callable[[], Awaitable[None]]
    renew: Callable[[], None]
    queue_s: float = 0.0
    inference_s: float = 0.0
    audio_s: float | None = None

    async def call(self, job: Callable[[], T]) -> T:
        """Run one job on the engine's thread; EngineStuck when it does not end."""
        try:
            return await self._once(job)
        except VramExhausted:
            await self.make_room()
            return await self._once(job)

    async def each(self, make: Callable[[], Iterable[T]]) -> AsyncIterator[T]:
        """Step through an iterable on the engine's thread; others get their turn between steps.

        When memory runs out it is begun anew, and what was yielded already is skipped.
        """
        steps: Iterator[T] = await self.call(lambda: iter(make()))
        done = 0
        while True:
            try:
                item = await self._next(steps)
            except VramExhausted:
                await self.make_room()
                steps = await self._once(lambda: iter(make()))
                for _ in range(done):
                    await self._next(steps)
                item = await self._next(steps)
            if item is _END:
                return
            done += 1
            yield item  # type: ignore[misc]

    def log(self) -> None:
        """Write what the use has cost into the log."""
        log.info(
            "inference",
            stage=self.slot.task,
            engine=self.slot.model,
            latency_ms=round((self.queue_s + self.inference_s) * 1000, 2),
            queue_ms=round(self.queue_s * 1000, 2),
            audio_s=self.audio_s and round(self.audio_s, 2),
        )

    async def until(self, waiter: asyncio.Future[T]) -> T:
        """Wait for something of this engine; EngineStuck when it is over its limit meanwhile."""
        try:
            while not (await asyncio.wait({waiter}, timeout=self.slot.limit_s))[0]:
                self.slot.check()
        finally:
            waiter.cancel()
        return waiter.result()

    async def _next(self, steps: Iterator[T]) -> object:
        return await self._once(lambda: next(steps, _END))

    async def _once(self, job: Callable[[], T]) -> T:
        timed = await self.until(asyncio.wrap_future(self.slot.lane.submit(job)))
        self.queue_s += timed.waited_s
        self.inference_s += timed.took_s
        self.renew()
        return timed.value
