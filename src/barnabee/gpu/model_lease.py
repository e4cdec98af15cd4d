"""Model lease: the right to use a loaded model, and the cost of what was done with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

import structlog

from barnabee.gpu.engines.base import Engine
from barnabee.gpu.model_runtime import ModelRuntime
from barnabee.gpu.oom_retry import iterate_with_retry, run_with_retry

E = TypeVar("E", bound=Engine)
T = TypeVar("T")

log = structlog.get_logger()


@dataclass
class ModelLease(Generic[E]):
    """A model that stays loaded while the lease is held; times add up over its jobs."""

    engine: E
    runtime: ModelRuntime[E]
    evict: Callable[[], Awaitable[None]]  # frees memory after an inference ran out of it
    renew: Callable[[], None]
    queue_s: float = 0.0
    inference_s: float = 0.0
    audio_s: float | None = None

    async def run(self, job: Callable[[], T]) -> T:
        """Run one job on the engine's thread; EngineStuck when it exceeds the engine's limit."""
        return await run_with_retry(job, self._run_once, self.evict)

    def iterate(self, make: Callable[[], Iterable[T]]) -> AsyncIterator[T]:
        """Yield the items of `make()`; other leases' jobs may run between two items."""
        return iterate_with_retry(make, self._run_once, self.evict)

    def log_usage(self) -> None:
        log.info(
            "inference",
            stage=self.runtime.task,
            engine=self.runtime.model_id,
            latency_ms=round((self.queue_s + self.inference_s) * 1000, 2),
            queue_ms=round(self.queue_s * 1000, 2),
            audio_s=self.audio_s and round(self.audio_s, 2),
        )

    async def wait_for(self, future: asyncio.Future[T]) -> T:
        """Await a result of this engine; EngineStuck when an inference exceeds its limit."""
        try:
            while not (await asyncio.wait({future}, timeout=self.runtime.inference_limit_s))[0]:
                self.runtime.require_engine()
        finally:
            future.cancel()
        return future.result()

    async def _run_once(self, job: Callable[[], T]) -> T:
        result = await self.wait_for(asyncio.wrap_future(self.runtime.submit(job)))
        self.queue_s += result.waited_s
        self.inference_s += result.run_s
        self.renew()
        return result.value
