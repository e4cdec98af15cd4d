"""Batcher of the embedder: serves concurrent requests with one call of the engine.

Each request holds its own lease while it waits, so the model cannot be evicted. A batch that fails
is split in two, so that one text fails only its own request. `batch_policy` decides what shares a
call.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from barnabee.core.errors import BarnabeeError, Overloaded, VramExhausted
from barnabee.gpu.batch_policy import (
    MAX_TEXTS,
    BatchPart,
    BatchQueue,
    CallCosts,
    LastCall,
    compute_wait_s,
    estimate_tokens,
    split_batch,
)
from barnabee.gpu.engines.base import Embeddings, TextEmbedder
from barnabee.gpu.model_lease import ModelLease
from barnabee.gpu.model_runtime import ModelRuntime, TimedResult

if TYPE_CHECKING:
    from barnabee.gpu.metrics import GpuMetrics

MAX_REQUESTS = 128  # with one text each about 0.5 s on two busy cores


@dataclass
class _Request:
    """Texts of one caller and the vectors computed for them so far."""

    lease: ModelLease[TextEmbedder]
    texts: Sequence[str]
    result: asyncio.Future[Embeddings]
    computed: dict[int, tuple[NDArray[np.float32], int]] = field(default_factory=dict)
    computed_s: float = 0.0

    def add(self, part: BatchPart, rows: NDArray[np.float32], tokens: Sequence[int]) -> None:
        """Add a part's vectors; sets `result` when none is missing."""
        self.computed |= zip(part.indices, zip(rows, tokens, strict=True), strict=True)
        self.lease.renew()
        if len(self.computed) == len(self.texts):
            ordered = [self.computed[index] for index in range(len(self.texts))]
            vectors = np.stack([row for row, _ in ordered])
            self.result.set_result(Embeddings(vectors, tuple(count for _, count in ordered)))


class Batcher:
    """Batches the requests for one embedder; used from one event loop."""

    def __init__(
        self,
        runtime: ModelRuntime[TextEmbedder],
        metrics: GpuMetrics,
        *,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._runtime, self._clock = runtime, clock
        self._batch_texts = metrics.batch.labels(runtime.task, runtime.model_id)
        self._queue = BatchQueue()
        self._requests: dict[int, _Request] = {}
        self._keys = itertools.count()
        self._arrived = asyncio.Event()
        self._worker: asyncio.Task[None] | None = None
        self._last_call, self._costs = LastCall(), CallCosts()
        self._max_texts = MAX_TEXTS  # fewer after an out-of-memory error

    async def embed(self, lease: ModelLease[TextEmbedder], texts: Sequence[str]) -> Embeddings:
        """Return one vector for each text (at least one), in order.

        Raises what the engine raises for these texts, Overloaded, or EngineStuck.
        """
        if len(self._requests) >= MAX_REQUESTS:
            raise Overloaded(what=self._runtime.model_id, retry_after_s=1)
        queued_s, key = self._clock(), next(self._keys)
        request = _Request(lease, texts, asyncio.get_running_loop().create_future())
        self._requests[key] = request
        self._queue.enqueue(key, [estimate_tokens(text) for text in texts])
        self._arrived.set()
        if self._worker is None:
            name = f"batcher-{self._runtime.model_id}"
            self._worker = asyncio.create_task(self._work(), name=name)
            self._worker.add_done_callback(self._fail_requests)
        try:
            return await lease.wait_for(request.result)
        finally:
            del self._requests[key]
            self._queue.remove(key)
            # Each request is charged its share, so that all add up to the engine's time.
            lease.inference_s += request.computed_s
            lease.queue_s += max(0.0, self._clock() - queued_s - request.computed_s)

    async def _work(self) -> None:
        try:
            while self._queue:
                await self._wait_for_more()
                batch = self._queue.take_batch(self._max_texts)
                await self._serve(batch)
                self._last_call = LastCall(len(batch), self._clock())
        finally:
            self._worker = None

    def _fail_requests(self, worker: asyncio.Task[None]) -> None:
        """Fail all pending requests when the worker itself crashed."""
        error = None if worker.cancelled() else worker.exception()
        for request in self._requests.values() if error else ():
            if not request.result.done():
                request.result.set_exception(error or BarnabeeError())

    async def _wait_for_more(self) -> None:
        fixed_s = self._costs.fixed_s
        while True:
            now_s = self._clock()
            wait_s = compute_wait_s(len(self._queue), self._last_call, fixed_s, now_s)
            if wait_s <= 0:
                return
            self._arrived.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._arrived.wait()

    async def _serve(self, batch: list[BatchPart]) -> None:
        """Run a batch; where it fails, run its halves."""
        pending = [batch]
        while pending:
            # cancelled requests, and those that failed in another part, are left out
            parts = [part for part in pending.pop() if self._is_pending(part)]
            if not parts:
                continue
            try:
                result = await self._call(parts)
            except BarnabeeError as error:
                first, second = split_batch(parts)
                out_of_memory = isinstance(error, VramExhausted)
                if out_of_memory:
                    self._max_texts = max(1, len(first))
                if len(parts) > 1 or (out_of_memory and second):
                    pending += [second, first]
                else:
                    await self._fail_or_retry(parts[0], error)
            else:
                self._max_texts = min(MAX_TEXTS, self._max_texts + 1)
                self._deliver(parts, result)

    async def _fail_or_retry(self, part: BatchPart, error: BarnabeeError) -> None:
        """Fail a request that failed alone; after an out-of-memory error, evict and retry once."""
        if not self._is_pending(part):
            return
        request = self._requests[part.key]
        if isinstance(error, VramExhausted):
            await request.lease.evict()
            if not self._is_pending(part):
                return
            try:
                result = await self._call([part])
            except BarnabeeError as retry_error:
                error = retry_error
            else:
                self._deliver([part], result)
                return
        if self._is_pending(part):
            request.result.set_exception(error)

    def _is_pending(self, part: BatchPart) -> bool:
        request = self._requests.get(part.key)
        return request is not None and not request.result.done()

    async def _call(self, batch: list[BatchPart]) -> TimedResult[Embeddings]:
        requests = [self._requests[part.key] for part in batch]
        texts = [
            request.texts[index]
            for part, request in zip(batch, requests, strict=True)
            for index in part.indices
        ]
        # All requests hold a lease, so the engine is the same for all of them.
        engine = requests[0].lease.engine
        self._batch_texts.observe(len(texts))
        return await asyncio.wrap_future(self._runtime.submit(lambda: engine.embed(texts)))

    def _deliver(self, batch: list[BatchPart], result: TimedResult[Embeddings]) -> None:
        embeddings, start = result.value, 0
        total = max(1, sum(embeddings.tokens))
        self._costs = self._costs.with_call(total, result.run_s)
        for part in batch:
            rows = slice(start, start + len(part.indices))
            start = rows.stop
            if self._is_pending(part):
                request, tokens = self._requests[part.key], embeddings.tokens[rows]
                request.computed_s += result.run_s * sum(tokens) / total
                request.add(part, embeddings.vectors[rows], tokens)
