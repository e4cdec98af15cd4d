from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest

from barnabee.core.errors import (
    DependencyDown,
    EngineStuck,
    InvalidAudio,
    ModelMissing,
    Overloaded,
    StillLoading,
    VramExhausted,
)
from barnabee.gpu.model_runtime import EngineThread, ModelRuntime, RuntimeState
from support.fake_engines import FakeEmbedder, JobGate
from support.wait import wait_until

HELD_S = 0.02


def make_runtime(make: Callable[[], Any]) -> ModelRuntime[Any]:
    return ModelRuntime("embed", "fake", make)


async def test_engine_is_ready_after_its_first_inference() -> None:
    gate = JobGate()

    class Slow(FakeEmbedder):
        def warm_up(self) -> None:
            gate.wait_until_open()

    runtime = make_runtime(Slow)
    assert runtime.state is RuntimeState.ABSENT
    loading = asyncio.create_task(runtime.load())
    await asyncio.to_thread(gate.reached.wait)
    assert runtime.state is RuntimeState.LOADING
    with pytest.raises(StillLoading):
        runtime.require_engine()
    gate.opened.set()
    assert await loading > 0
    assert runtime.state is RuntimeState.READY
    assert runtime.require_engine().dimensions == 384


async def test_missing_model_fails_with_instructions() -> None:
    def missing() -> FakeEmbedder:
        raise ModelMissing(model="minilm", directory="/models")

    runtime = make_runtime(missing)
    with pytest.raises(ModelMissing):
        await runtime.load()
    assert runtime.state is RuntimeState.FAILED
    with pytest.raises(ModelMissing, match="barnabee models fetch"):
        runtime.require_engine()


async def test_out_of_memory_at_load_is_vram_exhausted() -> None:
    def greedy() -> FakeEmbedder:
        msg = "CUDA failed with error out of memory"
        raise RuntimeError(msg)

    with pytest.raises(VramExhausted, match="CUDA failed"):
        await make_runtime(greedy).load()


async def test_engine_that_refuses_to_close_stays_usable() -> None:
    class Stubborn(FakeEmbedder):
        def close(self) -> None:
            msg = "still referenced"
            raise RuntimeError(msg)

    runtime = make_runtime(Stubborn)
    await runtime.load()
    with pytest.raises(DependencyDown, match="still referenced"):
        await runtime.unload()
    assert runtime.state is RuntimeState.READY
    assert len(runtime.require_engine().embed(["a"]).vectors) == 1


async def test_unload_removes_the_engine() -> None:
    runtime = make_runtime(FakeEmbedder)
    await runtime.load()
    await runtime.unload()
    assert runtime.state is RuntimeState.ABSENT


async def test_job_over_the_limit_makes_the_engine_stuck_until_it_ends() -> None:
    gate, runtime = JobGate(), make_runtime(FakeEmbedder)
    await runtime.load()
    runtime.inference_limit_s = 0.0
    job = asyncio.create_task(asyncio.to_thread(runtime.submit(gate.wait_until_open).result))
    await asyncio.to_thread(gate.reached.wait)
    assert runtime.state is RuntimeState.STUCK
    with pytest.raises(EngineStuck):
        runtime.require_engine()
    gate.opened.set()
    await job
    runtime.wait_until_idle(5)
    assert runtime.state is RuntimeState.READY


# ---- engine thread ----


async def test_jobs_run_in_order_one_at_a_time_on_the_engines_thread() -> None:
    thread, seen, running = EngineThread("x"), [], []

    def job(number: int) -> None:
        running.append(number)
        assert len(running) == 1
        seen.append((number, threading.current_thread().name))
        running.remove(number)

    await asyncio.gather(*(thread.run(lambda n=n: job(n)) for n in range(20)))
    assert seen == [(n, "engine-x") for n in range(20)]


async def test_waiting_and_running_are_timed_separately() -> None:
    thread, gate = EngineThread("x"), JobGate()
    first = asyncio.create_task(thread.run(gate.wait_until_open))
    await asyncio.to_thread(gate.reached.wait)
    second = asyncio.create_task(thread.run(lambda: "done"))
    await asyncio.sleep(0)
    held_from_s = time.perf_counter()
    await wait_until(lambda: time.perf_counter() > held_from_s + HELD_S)
    gate.opened.set()
    blocked, waited = await first, await second
    assert waited.value == "done"
    assert blocked.run_s >= HELD_S
    assert waited.waited_s >= HELD_S


async def test_library_errors_get_a_code_and_own_errors_pass_through() -> None:
    thread = EngineThread("kokoro")

    def broken() -> None:
        raise ZeroDivisionError("inside the library")

    def refusing() -> None:
        raise InvalidAudio(reason="no")

    with pytest.raises(DependencyDown, match=r"kokoro does not answer .*inside the library"):
        await thread.run(broken)
    with pytest.raises(InvalidAudio):
        await thread.run(refusing)
    assert (await thread.run(lambda: 7)).value == 7


async def test_jobs_over_the_queue_limit_are_refused() -> None:
    thread, gate = EngineThread("x", max_jobs=2), JobGate()
    running = asyncio.create_task(thread.run(gate.wait_until_open))
    waiting = asyncio.create_task(thread.run(lambda: 1))
    await asyncio.to_thread(gate.reached.wait)
    with pytest.raises(Overloaded) as refused:
        await thread.run(lambda: 2)
    assert refused.value.retry_after_s == 1
    gate.opened.set()
    await running
    assert (await waiting).value == 1
    assert (await thread.run(lambda: 3)).value == 3


async def test_cancelled_waiting_job_never_runs() -> None:
    thread, gate, ran = EngineThread("x"), JobGate(), []
    running = asyncio.create_task(thread.run(gate.wait_until_open))
    await asyncio.to_thread(gate.reached.wait)
    waiting = asyncio.create_task(thread.run(lambda: ran.append("never")))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    gate.opened.set()
    await running
    await thread.run(lambda: ran.append("next"))
    assert ran == ["next"]


async def test_thread_is_busy_only_while_a_job_runs() -> None:
    thread, gate = EngineThread("x"), JobGate()
    assert not thread.is_busy
    running = asyncio.create_task(thread.run(gate.wait_until_open))
    await asyncio.to_thread(gate.reached.wait)
    assert thread.is_busy
    assert not thread.wait_until_idle(0.01)
    gate.opened.set()
    await running
    assert thread.wait_until_idle(5)


@pytest.mark.parametrize("is_broken", [False, True])
def test_thread_is_idle_when_its_job_has_a_result(*, is_broken: bool) -> None:
    thread, seen, known = EngineThread("x"), list[bool](), threading.Event()
    gate = JobGate()

    def run() -> None:
        gate.wait_until_open()
        if is_broken:
            raise RuntimeError("broken")

    def look(_future: Future[Any]) -> None:
        seen.append(thread.is_busy)
        known.set()

    thread.submit(run).add_done_callback(look)
    gate.opened.set()
    known.wait()
    assert seen == [False]
