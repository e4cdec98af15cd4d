"""The batcher with real threads and stand-ins for the engine."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from barnabee.core.errors import BadRequest, EngineStuck, Overloaded, VramExhausted
from barnabee.gpu import batcher
from barnabee.gpu.batch_policy import MAX_TEXTS
from barnabee.gpu.batcher import Batcher
from barnabee.gpu.capabilities import ModelLease
from barnabee.gpu.engines.base import Embeddings, TextEmbedder
from barnabee.gpu.metrics import GpuMetrics
from barnabee.gpu.model_runtime import ModelRuntime
from support.fake_engines import FakeEmbedder, JobGate
from support.wait import wait_until

HELD_S = 0.02


@dataclass
class Picky(FakeEmbedder):
    """Fails for some texts, and has memory for so many at once."""

    poison: str = ""
    room: int = 1000
    gate: JobGate = field(default_factory=JobGate)

    def embed(self, texts: Any) -> Embeddings:
        self.gate.wait_until_open()
        found = super().embed(texts)
        if len(texts) > self.room:
            raise MemoryError
        if self.poison in texts:
            raise BadRequest(field="field `input`", reason="it breaks the engine")
        return found


@dataclass
class Bench:
    """A batcher, its engine, and uses that count."""

    engine: Picky = field(default_factory=Picky)
    limit_s: float = 30
    evictions: int = 0
    uses: list[ModelLease[TextEmbedder]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.slot: ModelRuntime[TextEmbedder] = ModelRuntime(
            "embed", "fake", lambda: self.engine, inference_limit_s=self.limit_s
        )
        self.metrics = GpuMetrics("gpu")
        self.batcher = Batcher(self.slot, self.metrics)

    async def loaded(self) -> Bench:
        await self.slot.load()
        return self

    def ask(self, *texts: str) -> asyncio.Task[Embeddings]:
        use = ModelLease[TextEmbedder](self.engine, self.slot, evict=self.evict, renew=lambda: None)
        self.uses.append(use)
        return asyncio.create_task(self.batcher.embed(use, texts))

    async def evict(self) -> None:
        self.evictions += 1
        self.engine.room += 1

    async def computing(self) -> None:
        await wait_until(self.engine.gate.reached.is_set)

    @property
    def calls(self) -> list[int]:
        return [len(texts) for texts in self.engine.requests]


def same(found: Embeddings, *texts: str) -> bool:
    return bool(np.allclose(found.vectors, FakeEmbedder().embed(texts).vectors, atol=1e-6))


async def held(bench: Bench, first: str = "first") -> asyncio.Task[Embeddings]:
    """Return a request that computes until the gate is opened: others collect behind it."""
    task = bench.ask(first)
    await bench.computing()
    return task


async def collected(bench: Bench, *requests: tuple[str, ...]) -> list[asyncio.Task[Embeddings]]:
    """Return requests that wait together behind one that computes."""
    await held(bench)
    tasks = [bench.ask(*texts) for texts in requests]
    await asyncio.sleep(0)
    return tasks


async def test_single_request_is_one_call() -> None:
    bench = await Bench().loaded()
    bench.engine.gate.opened.set()
    found = await bench.ask("red lamp", "lamp")
    assert same(found, "red lamp", "lamp")
    assert found.tokens == (2, 1)
    assert bench.calls == [2]


async def test_requests_during_a_call_share_the_next_one() -> None:
    bench = await Bench().loaded()
    names = [f"text number {n}" for n in range(20)]
    tasks = await collected(bench, *((name, "and") for name in names))
    bench.engine.gate.opened.set()
    for name, found in zip(names, await asyncio.gather(*tasks), strict=True):
        assert same(found, name, "and")
        assert found.tokens == (3, 1)
    assert bench.calls == [1, 32, 8]


async def test_batch_sizes_are_counted() -> None:
    bench = await Bench().loaded()
    tasks = await collected(bench, *(("a",) for _ in range(9)))
    bench.engine.gate.opened.set()
    await asyncio.gather(*tasks)
    text = bench.metrics.render().decode()
    assert 'barnabee_inference_batch_texts_sum{engine="fake",task="embed"} 10.0' in text
    assert 'barnabee_inference_batch_texts_count{engine="fake",task="embed"} 2.0' in text


async def test_large_request_does_not_delay_a_small_one() -> None:
    bench = await Bench().loaded()
    large, small = await collected(bench, tuple(f"text {n}" for n in range(256)), ("small",))
    bench.engine.gate.opened.set()
    assert same(await small, "small")
    assert len(bench.engine.requests) == 2
    assert same(await large, *(f"text {n}" for n in range(256)))


async def test_cancelled_request_is_not_computed() -> None:
    bench = await Bench().loaded()
    gone, stays = await collected(bench, ("gone",), ("stays",))
    gone.cancel()
    await asyncio.wait({gone})
    bench.engine.gate.opened.set()
    assert same(await stays, "stays")
    assert gone.cancelled()
    assert ["gone"] not in bench.engine.requests
    assert bench.calls == [1, 1]


async def test_cancellation_during_the_call_does_not_affect_others() -> None:
    bench = await Bench().loaded()
    first = await held(bench)
    first.cancel()
    await asyncio.wait({first})
    second = bench.ask("second")
    bench.engine.gate.opened.set()
    assert same(await second, "second")


async def test_cancelled_request_that_breaks_the_engine_does_not_affect_others() -> None:
    bench = await Bench(Picky(poison="bad")).loaded()
    bad = await held(bench, "bad")
    other = bench.ask("other")
    bad.cancel()
    await asyncio.wait({bad})
    bench.engine.gate.opened.set()
    assert same(await other, "other")


async def test_text_that_breaks_the_engine_fails_only_its_request() -> None:
    bench = await Bench(Picky(poison="bad")).loaded()
    requests = [(f"text {n}",) for n in range(15)]
    *good, bad = await collected(bench, *requests, ("bad",))
    bench.engine.gate.opened.set()
    with pytest.raises(BadRequest):
        await bad
    for texts, task in zip(requests, good, strict=True):
        assert same(await task, *texts)


async def test_broken_engine_fails_all_requests() -> None:
    bench = await Bench(Picky(poison="same")).loaded()
    tasks = await collected(bench, *(("same",) for _ in range(4)))
    bench.engine.gate.opened.set()
    for found in await asyncio.gather(*tasks, return_exceptions=True):
        assert isinstance(found, BadRequest)


async def test_batch_too_large_for_memory_is_split() -> None:
    bench = await Bench(Picky(room=5)).loaded()
    requests = [(f"text {n}", "second") for n in range(8)]
    tasks = await collected(bench, *requests)
    bench.engine.gate.opened.set()
    for texts, task in zip(requests, tasks, strict=True):
        assert same(await task, *texts)
    assert bench.evictions == 0
    assert max(bench.calls) == 16  # what was tried
    small = await bench.ask(*(f"again {n}" for n in range(12)))
    assert len(small.vectors) == 12
    assert max(bench.calls[-3:]) < 12  # it is remembered for a while


async def test_single_text_out_of_memory_evicts_and_retries_once() -> None:
    bench = await Bench(Picky(room=0)).loaded()
    bench.engine.gate.opened.set()
    assert same(await bench.ask("text"), "text")
    assert bench.evictions == 1
    bench.engine.room = -5
    with pytest.raises(VramExhausted):
        await bench.ask("text")
    assert bench.evictions == 2


async def test_hanging_engine_fails_all_requests_with_engine_stuck() -> None:
    bench = await Bench(limit_s=0.05).loaded()
    tasks = await collected(bench, ("a",), ("b",))
    for found in await asyncio.gather(*tasks, return_exceptions=True):
        assert isinstance(found, EngineStuck)
    bench.engine.gate.opened.set()
    await wait_until(lambda: not bench.slot.is_busy)
    bench.slot.inference_limit_s = 60
    assert same(await bench.ask("again"), "again")


async def test_requests_over_the_limit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batcher, "MAX_REQUESTS", 3)
    bench = await Bench().loaded()
    tasks = await collected(bench, ("a",), ("b",))
    with pytest.raises(Overloaded) as refused:
        await bench.ask("c")
    assert refused.value.retry_after_s == 1
    bench.engine.gate.opened.set()
    await asyncio.gather(*tasks)
    assert same(await bench.ask("d"), "d")


async def test_computing_time_is_shared_by_tokens() -> None:
    bench = await Bench().loaded()
    tasks = await collected(bench, ("one two three",), ("one",))
    held_from_s = time.perf_counter()
    await wait_until(lambda: time.perf_counter() > held_from_s + HELD_S)
    bench.engine.gate.opened.set()
    await asyncio.gather(*tasks)
    first, long, short = bench.uses
    assert long.inference_s == pytest.approx(3 * short.inference_s)
    assert first.inference_s >= HELD_S
    assert long.queue_s >= HELD_S


@pytest.mark.parametrize("seed", range(5))
async def test_mixed_load_leaves_no_state_behind(
    seed: int,
) -> None:
    dice = np.random.default_rng(seed)
    bench = await Bench(Picky(poison="bad", room=20)).loaded()
    bench.engine.gate.opened.set()
    asked = []
    for number in range(100):
        count = int(dice.choice([1, 1, 1, 2, 30, 100]))
        texts = tuple(f"text {number} {n}" for n in range(count))
        if dice.random() < 0.05:
            texts = ("bad", *texts)
        asked.append((texts, bench.ask(*texts)))
        if dice.random() < 0.2:
            asked[int(dice.integers(len(asked)))][1].cancel()
        if dice.random() < 0.3:
            await asyncio.sleep(0)
    for texts, task in asked:
        (found,) = await asyncio.gather(task, return_exceptions=True)
        if isinstance(found, Embeddings):
            assert "bad" not in texts
            assert same(found, *texts)
        elif isinstance(found, BadRequest):
            assert "bad" in texts
        else:
            assert isinstance(found, asyncio.CancelledError)
    assert not bench.batcher._requests
    assert not bench.batcher._queue
    await wait_until(lambda: bench.batcher._worker is None)


def test_request_limit_exceeds_the_batch_size() -> None:
    assert batcher.MAX_REQUESTS > MAX_TEXTS
