"""VRAM manager with simulated GPU memory and fake engines."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest

from barnabee.core.errors import (
    DependencyDown,
    ModelInUse,
    QueueFull,
    TimedOut,
    VramExhausted,
    VramNotEvictable,
    VramTooLarge,
)
from barnabee.gpu.metrics import GpuMetrics
from barnabee.gpu.model_runtime import ModelRuntime, RuntimeState
from barnabee.gpu.vram.ledger import Ledger
from barnabee.gpu.vram.manager import VramManager
from barnabee.gpu.vram.types import EventKind
from support.clock import FakeClock
from support.fake_engines import FakeGpuMemory, FakeSynthesizer, JobGate
from support.vram import make_gpu, make_model
from support.wait import wait_until


@dataclass
class Engine:
    """Fake engine with simulated GPU memory; `errors` are raised by its next loads and jobs."""

    name: str
    mib: int
    gpu: FakeGpuMemory
    errors: list[Exception] = field(default_factory=list)
    refuses_close: bool = False
    unreclaimed_mib: int = 0

    def warm_up(self) -> None:
        self.raise_next_error()
        self.gpu.allocate(self.name, self.mib)

    def close(self) -> None:
        if self.refuses_close:
            msg = "still referenced"
            raise RuntimeError(msg)
        self.gpu.allocate(self.name, self.unreclaimed_mib)

    def raise_next_error(self) -> None:
        if self.errors:
            raise self.errors.pop(0)

    def work(self) -> str:
        self.raise_next_error()
        return self.name


@dataclass
class Harness:
    """A running manager with the models `a` (critical), `b` (preloaded) and `c` (lazy)."""

    manager: VramManager
    gpu: FakeGpuMemory
    engines: dict[str, Engine]

    def states(self) -> dict[str, RuntimeState]:
        return {name: runtime.state for name, runtime in self.manager.runtimes.items()}

    def kinds(self, name: str) -> list[EventKind]:
        return [event.kind for _, event in self.manager.decisions if event.model == name]


MODELS = {"a": (1, 400, True), "b": (2, 300, True), "c": (3, 200, False), "d": (1, 500, False)}


@asynccontextmanager
async def run_manager(
    prepare: Callable[[dict[str, Engine]], object] | None = None,
    *,
    total_mib: int = 1000,
    names: str = "abcd",
    clock: Callable[[], float] = time.monotonic,
    **limits: int,
) -> AsyncIterator[Harness]:
    gpu = FakeGpuMemory(total_mib)
    gpu.allocate("process", 50)
    engines = {name: Engine(name, MODELS[name][1] - 20, gpu) for name in names}
    if prepare:
        prepare(engines)
    models = {
        name: make_model(MODELS[name][0], MODELS[name][1], preload=MODELS[name][2])
        for name in names
    }
    runtimes: list[ModelRuntime[Any]] = [
        ModelRuntime("stt", name, lambda name=name: engines[name])
        for name in names  # type: ignore[misc]
    ]
    ledger = Ledger(make_gpu(total_mib, 50, **limits), models)
    manager = VramManager(ledger, runtimes, gpu, GpuMetrics("gpu"), clock=clock)
    running = asyncio.create_task(manager.run())
    try:
        preloaded = [name for name in names if MODELS[name][2]]
        await wait_until(lambda: all(manager.has_attempted_load(name) for name in preloaded))
        yield Harness(manager, gpu, engines)
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


async def use_model(harness: Harness, name: str) -> str:
    async with harness.manager.lease(name) as lease:
        result: str = await lease.run(lease.engine.work)
        return result


async def test_preloaded_models_are_ready_and_others_load_on_request() -> None:
    async with run_manager(names="abc") as harness:
        assert harness.states() == {
            "a": RuntimeState.READY,
            "b": RuntimeState.READY,
            "c": RuntimeState.ABSENT,
        }
        assert await use_model(harness, "c") == "c"
        assert harness.states()["c"] is RuntimeState.READY


async def test_ledger_matches_the_measured_memory() -> None:
    async with run_manager(names="abc") as harness:
        await use_model(harness, "c")
        held = {name: row.held_mib for name, row in harness.manager.ledger.resident.items()}
        assert held == {"a": 380, "b": 280, "c": 180}
        assert harness.manager.memory.baseline_mib == 50
        assert sum(held.values()) + 50 == harness.gpu.read().process_mib


async def test_less_important_model_is_evicted_and_its_memory_awaited() -> None:
    async with run_manager() as harness:
        assert await use_model(harness, "d") == "d"
        assert harness.states()["b"] is RuntimeState.ABSENT
        assert harness.states()["a"] is RuntimeState.READY
        assert harness.kinds("b")[2:4] == [EventKind.EVICT, EventKind.UNLOADED]


async def test_leased_model_stays_and_the_waiting_request_is_served_later() -> None:
    async with run_manager() as harness:
        async with harness.manager.lease("b"):
            waiting = asyncio.create_task(use_model(harness, "d"))
            await wait_until(lambda: EventKind.WAIT in harness.kinds("d"))
            assert harness.states()["b"] is RuntimeState.READY
        assert await waiting == "d"
        assert harness.states()["b"] is RuntimeState.ABSENT


async def begin_turn(harness: Harness, *models: str) -> list[str]:
    manager = harness.manager
    return await manager.turns.begin("t", "kitchen", models, now_ms=manager.now_ms())


async def test_turn_holds_its_models_until_its_time_limit() -> None:
    clock = FakeClock()
    async with run_manager(clock=clock, turn_limit_ms=600) as harness:
        assert await begin_turn(harness, "a", "b") == ["a", "b"]
        with pytest.raises(ModelInUse):
            await harness.manager.unload("b")
        waiting = asyncio.create_task(use_model(harness, "d"))
        await wait_until(lambda: EventKind.WAIT in harness.kinds("d"))
        clock.now_s += 0.6
        assert await waiting == "d"
        assert not harness.manager.turns


async def test_turn_that_ends_while_waiting_holds_no_lease() -> None:
    async with run_manager() as harness:
        async with harness.manager.lease("b"):
            beginning = asyncio.create_task(begin_turn(harness, "a", "d"))
            await wait_until(lambda: EventKind.WAIT in harness.kinds("d"))
            assert harness.manager.turns.end("t")
        assert await beginning == ["a"]
        assert harness.manager.ledger.leases == {}


async def test_models_of_equal_priority_never_evict_each_other() -> None:
    async with run_manager() as harness:
        await use_model(harness, "d")
        with pytest.raises(VramNotEvictable):
            await use_model(harness, "b")


async def test_model_larger_than_the_gpu_is_refused_at_once() -> None:
    async with run_manager(total_mib=500, names="bd") as harness:
        with pytest.raises(VramTooLarge):
            await use_model(harness, "d")


async def test_full_queue_is_429_and_a_long_wait_times_out() -> None:
    clock = FakeClock()
    async with (
        run_manager(clock=clock, queue_depth=1, wait_limit_ms=600) as harness,
        harness.manager.lease("b"),
    ):
        first = asyncio.create_task(use_model(harness, "d"))
        await wait_until(lambda: bool(harness.manager.ledger.waiting))
        with pytest.raises(QueueFull) as refused:
            await use_model(harness, "c")
        assert (refused.value.status, refused.value.retry_after_s) == (429, 2)
        clock.now_s += 1
        with pytest.raises(TimedOut):
            await first


async def test_refused_unload_keeps_the_model_loaded() -> None:
    async with run_manager(lambda engines: setattr(engines["b"], "refuses_close", True)) as harness:
        with pytest.raises(ModelInUse):
            await harness.manager.unload("b")
        assert harness.kinds("b")[-1] is EventKind.UNLOAD_REFUSED
        assert await use_model(harness, "b") == "b"
        assert harness.gpu.held_mib["b"] == 280


async def test_memory_not_freed_by_an_unload_is_counted_and_reused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("barnabee.gpu.vram.memory_monitor.RECLAIM_TIMEOUT_S", 0.2)
    async with run_manager(
        lambda engines: setattr(engines["b"], "unreclaimed_mib", 100)
    ) as harness:
        await harness.manager.unload("b")
        assert harness.manager.ledger.reservations["b"].left_mib == 100
        assert harness.manager.decisions[-1][1].why == "100 MiB were not freed"
        assert await use_model(harness, "b") == "b"
        await wait_until(lambda: harness.manager.ledger.resident["b"].held_mib == 280)


async def test_out_of_memory_during_a_load_is_retried_once() -> None:
    def prepare(engines: dict[str, Engine]) -> None:
        engines["a"].errors = [RuntimeError("CUDA out of memory")]

    async with run_manager(prepare) as harness:
        assert harness.states()["a"] is RuntimeState.READY
        assert EventKind.OUT_OF_MEMORY in harness.kinds("a")


async def test_second_out_of_memory_is_an_error_with_a_code() -> None:
    async with run_manager(names="abc") as harness:
        harness.engines["c"].errors = [MemoryError("none"), MemoryError("none")]
        with pytest.raises(VramExhausted):
            await use_model(harness, "c")
        assert harness.states()["c"] is RuntimeState.FAILED
        assert harness.states()["a"] is RuntimeState.READY


async def test_out_of_memory_inference_is_retried_after_eviction() -> None:
    async with run_manager(names="abc") as harness:
        await use_model(harness, "c")
        harness.engines["b"].errors = [RuntimeError("Failed to allocate memory for 1 MB")]
        assert await use_model(harness, "b") == "b"
        assert harness.states()["c"] is RuntimeState.ABSENT  # less important
        assert harness.states()["a"] is RuntimeState.READY  # more important
        harness.engines["b"].errors = [MemoryError("no"), MemoryError("no")]
        with pytest.raises(VramExhausted):
            await use_model(harness, "b")


async def test_memory_pressure_unloads_optional_models() -> None:
    async with run_manager(names="abc") as harness:
        await use_model(harness, "c")
        harness.gpu.set_other_use(200)
        await wait_until(lambda: harness.states()["c"] is RuntimeState.ABSENT)
        assert harness.states()["a"] is RuntimeState.READY
        assert EventKind.PRESSURE in harness.kinds("c")


async def test_unused_model_is_unloaded_after_its_limit() -> None:
    async with run_manager(names="abc", idle_unload_s=1) as harness:
        await use_model(harness, "c")
        await wait_until(lambda: harness.states()["c"] is RuntimeState.ABSENT)
        assert harness.states() == {
            "a": RuntimeState.READY,
            "b": RuntimeState.READY,
            "c": RuntimeState.ABSENT,
        }


async def test_growth_is_attributed_to_the_used_model() -> None:
    async with run_manager(names="abc") as harness:
        await use_model(harness, "b")
        harness.gpu.allocate("b", 330)
        await wait_until(lambda: harness.manager.ledger.resident["b"].held_mib == 330)
        assert harness.manager.ledger.resident["a"].held_mib == 380
        assert harness.manager.ledger.reservations["b"].measured_mib == 330


async def test_caller_cancelled_while_waiting_holds_no_lease() -> None:
    async with run_manager() as harness:
        async with harness.manager.lease("b"):
            waiting = asyncio.create_task(use_model(harness, "d"))
            await wait_until(lambda: bool(harness.manager.ledger.waiting))
            waiting.cancel()
            with suppress(asyncio.CancelledError):
                await waiting
        await wait_until(
            lambda: not harness.manager.ledger.waiting and not harness.manager.ledger.leases
        )


async def test_lease_of_a_cancelled_caller_lasts_until_its_inference_ends() -> None:
    gate = JobGate()
    async with run_manager() as harness:

        async def use_until_cancelled() -> None:
            async with harness.manager.lease("b") as lease:
                await lease.run(gate.wait_until_open)

        task = asyncio.create_task(use_until_cancelled())
        await asyncio.to_thread(gate.reached.wait)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        assert len(harness.manager.ledger.leases) == 1
        gate.opened.set()
        await wait_until(lambda: not harness.manager.ledger.leases)


async def test_driver_failure_is_unhealthy_until_it_recovers() -> None:
    async with run_manager(names="abc") as harness:
        harness.manager.check()
        harness.gpu.fail_with(DependencyDown(dependency="the GPU driver", reason="lost"))
        await wait_until(lambda: harness.manager.memory.error is not None)
        with pytest.raises(DependencyDown, match="driver"):
            harness.manager.check()
        assert await use_model(harness, "b") == "b"  # loaded models still work
        harness.gpu.fail_with(None)
        await wait_until(lambda: harness.manager.memory.error is None)
        harness.manager.check()


async def test_stalled_manager_is_unhealthy() -> None:
    clock = FakeClock(0)
    models = {"a": make_model(1, 100)}
    manager = VramManager(
        Ledger(make_gpu(), models),
        [ModelRuntime("tts", "a", FakeSynthesizer)],
        FakeGpuMemory(1000),
        GpuMetrics("gpu"),
        clock=clock,
    )
    manager.check()
    clock.now_s = 11.0
    with pytest.raises(TimedOut, match="manager"):
        manager.check()


async def test_failed_load_is_reported_at_once_and_retried_later() -> None:
    def prepare(engines: dict[str, Engine]) -> None:
        engines["b"].errors = [ValueError("bad file")] * 2

    async with run_manager(prepare, names="abc") as harness:
        with pytest.raises(DependencyDown, match="bad file"):
            await use_model(harness, "b")
        harness.engines["b"].errors = []
        await wait_until(lambda: harness.states()["b"] is RuntimeState.READY)


async def test_many_concurrent_sessions_are_all_answered() -> None:
    async with run_manager(queue_depth=32) as harness:
        names = ["a", "b", "c", "d"] * 6
        results = await asyncio.gather(
            *(use_model(harness, name) for name in names), return_exceptions=True
        )
        refused = [result for result in results if isinstance(result, Exception)]
        assert all(isinstance(error, VramNotEvictable) for error in refused)
        assert {result for result in results if isinstance(result, str)} >= {"a", "d"}
        assert not harness.manager.ledger.leases


async def test_growth_is_attributed_past_a_standing_lease() -> None:
    async with run_manager(names="abc") as harness, harness.manager.lease("a", standing=True):
        async with harness.manager.lease("b") as lease:
            await lease.run(lambda: harness.gpu.allocate("b", 330))
            await wait_until(lambda: harness.manager.ledger.resident["b"].held_mib == 330)
        gate = JobGate()

        async def compute() -> None:
            async with harness.manager.lease("b") as lease:
                await lease.run(gate.wait_until_open)

        computing = asyncio.create_task(compute())
        await asyncio.to_thread(gate.reached.wait)
        harness.gpu.allocate("b", 360)
        await wait_until(lambda: harness.manager.ledger.reservations["b"].measured_mib == 360)
        gate.opened.set()
        await computing
        assert harness.manager.ledger.reservations["a"].measured_mib == 380


async def test_standing_lease_never_expires_and_holds_its_model() -> None:
    async with run_manager(names="abc") as harness:
        async with harness.manager.lease("c", standing=True):
            (lease,) = harness.manager.ledger.leases.values()
            first_ms = lease.until_ms
            await wait_until(
                lambda: next(iter(harness.manager.ledger.leases.values())).until_ms > first_ms
            )
            with pytest.raises(ModelInUse):
                await harness.manager.unload("c")
        assert not harness.manager.ledger.leases
        await harness.manager.unload("c")
