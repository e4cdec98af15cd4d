"""Serves concurrent requests for one embedder with one call of the engine, as `batching` says.

Every request holds its own lease while its texts are here, so nothing that computes can be evicted,
and a session keeps what its turn holds. A batch that fails is halved, so that one text hurts nobody
else's.
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
from barnabee.gpu.batch_policy import MAX_TEXTS, Costs, Last, Line, Part, halve, wait_s, weight
from barnabee.gpu.engine_thread import Timed
from barnabee.gpu.engines.protocols import Embedder, Embeddings
from barnabee.gpu.model_lease import Use
from barnabee.gpu.model_runtime import Slot

if TYPE_CHECKING:
    from barnabee.gpu.metrics import GpuMetrics

MAX_REQUESTS = 128  # of one text about 0.5 s on two busy cores


@dataclass
class _Request:
    """One caller: its texts, what was found for them so far, and where it waits."""

    use: Use[Embedder]
    texts: Sequence[str]
    answer: asyncio.Future[Embeddings]
    found: dict[int, tuple[NDArray[np.float32], int]] = field(default_factory=dict)
    computed_s: float = 0.0

    def take(self, part: Part, rows: NDArray[np.float32], tokens: Sequence[int]) -> None:
        """Keep a part's vectors; answer when all are there."""
        self.found |= zip(part.indices, zip(rows, tokens, strict=True), strict=True)
        self.use.renew()
        if len(self.found) == len(self.texts):
            ordered = [self.found[index] for index in range(len(self.texts))]
            vectors = np.stack([row for row, _ in ordered])
            self.answer.set_result(Embeddings(vectors, tuple(count for _, count in ordered)))


class Batcher:
    """The line in front of one embedder."""

    def __init__(
        self,
        slot: Slot[Embedder],
        metrics: GpuMetrics,
        *,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Take the embedder's slot."""
        self._slot, self._clock = slot, clock
        self._batch_texts = metrics.batch.labels(slot.task, slot.model)
        self._line = Line()
        self._requests: dict[int, _Request] = {}
        self._keys = itertools.count()
        self._arrived = asyncio.Event()
        self._worker: asyncio.Task[None] | None = None
        self._last, self._costs = Last(), Costs()
        self._max_texts = MAX_TEXTS  # fewer after memory ran out

    async def embed(self, use: Use[Embedder], texts: Sequence[str]) -> Embeddings:
        """Return one vector for each text (one at least), in order.

        Raises what the engine raises for these texts; Overloaded when too many wait; EngineStuck.
        """
        if len(self._requests) >= MAX_REQUESTS:
            raise Overloaded(what=self._slot.model, retry_after_s=1)
        asked_s, key = self._clock(), next(self._keys)
        request = _Request(use, texts, asyncio.get_running_loop().create_future())
        self._requests[key] = request
        self._line.add(key, [weight(text) for text in texts])
        self._arrived.set()
        if self._worker is None:
            self._worker = asyncio.create_task(self._work(), name=f"batches-{self._slot.model}")
            self._worker.add_done_callback(self._ended)
        try:
            return await use.until(request.answer)
        finally:
            del self._requests[key]
            self._line.drop(key)
            # Computing is shared out, so that all requests together add up to the engine's time.
            use.inference_s += request.computed_s
            use.queue_s += max(0.0, self._clock() - asked_s - request.computed_s)

    async def _work(self) -> None:
        try:
            while self._line:
                await self._gather()
                batch = self._line.take(self._max_texts)
                await self._serve(batch)
                self._last = Last(len(batch), self._clock())
        finally:
            self._worker = None

    def _ended(self, worker: asyncio.Task[None]) -> None:
        """Answer everybody when the worker itself failed: nobody may wait for ever."""
        error = None if worker.cancelled() else worker.exception()
        for request in self._requests.values() if error else ():
            if not request.answer.done():
                request.answer.set_exception(error or BarnabeeError())

    async def _gather(self) -> None:
        """Wait for more to come, where that pays."""
        fixed_s = self._costs.fixed_s
        while (more_s := wait_s(len(self._line), self._last, fixed_s, self._clock())) > 0:
            self._arrived.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(more_s):
                    await self._arrived.wait()

    async def _serve(self, batch: list[Part]) -> None:
        """Run a batch, and its halves where it fails."""
        todo = [batch]
        while todo:
            # who gave up, or failed in another part, is left out
            wanted = [part for part in todo.pop() if self._waits(part)]
            if not wanted:
                continue
            try:
                timed = await self._call(wanted)
            except BarnabeeError as error:
                first, second = halve(wanted)
                ran_out = isinstance(error, VramExhausted)
                if ran_out:
                    self._max_texts = max(1, len(first))
                if len(wanted) > 1 or (ran_out and second):
                    todo += [second, first]
                else:
                    await self._alone(wanted[0], error)
            else:
                self._max_texts = min(MAX_TEXTS, self._max_texts + 1)
                self._deliver(wanted, timed)

    async def _alone(self, part: Part, error: BarnabeeError) -> None:
        """Answer a request that failed alone; memory that ran out gets room made, once."""
        if not self._waits(part):
            return
        request = self._requests[part.key]
        if isinstance(error, VramExhausted):
            await request.use.make_room()
            if not self._waits(part):
                return
            try:
                timed = await self._call([part])
            except BarnabeeError as again:
                error = again
            else:
                self._deliver([part], timed)
                return
        if self._waits(part):
            request.answer.set_exception(error)

    def _waits(self, part: Part) -> bool:
        request = self._requests.get(part.key)
        return request is not None and not request.answer.done()

    async def _call(self, batch: list[Part]) -> Timed[Embeddings]:
        requests = [self._requests[part.key] for part in batch]
        texts = [
            request.texts[index]
            for part, request in zip(batch, requests, strict=True)
            for index in part.indices
        ]
        # All of them hold a lease, so it is the same engine for all.
        engine = requests[0].use.engine
        self._batch_texts.observe(len(texts))
        return await asyncio.wrap_future(self._slot.lane.submit(lambda: engine.embed(texts)))

    def _deliver(self, batch: list[Part], timed: Timed[Embeddings]) -> None:
        found, start = timed.value, 0
        total = max(1, sum(found.tokens))
        self._costs = self._costs.after(total, timed.took_s)
        for part in batch:
            rows = slice(start, start + len(part.indices))
            start = rows.stop
            if self._waits(part):
                request, tokens = self._requests[part.key], found.tokens[rows]
                request.computed_s += timed.took_s * sum(tokens) / total
                request.take(part, found.vectors[rows], tokens)
