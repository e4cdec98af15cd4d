from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from barnabee.core.errors import DependencyDown, EngineStuck, Loading, ModelMissing, VramExhausted
from barnabee.gpu.model_runtime import Slot, State
from barnabee.testing.engines import FakeEmbedder, Gate


def make_slot(make: Callable[[], Any]) -> Slot[Any]:
    return Slot("embed", "fake", make)


async def test_an_engine_is_ready_only_after_its_first_inference() -> None:
    gate = Gate()

    class Slow(FakeEmbedder):
        def warm_up(self) -> None:
            gate.passed()

    slot = make_slot(Slow)
    assert slot.state is State.ABSENT
    loading = asyncio.create_task(slot.load())
    await asyncio.to_thread(gate.reached.wait)
    assert slot.state is State.LOADING
    with pytest.raises(Loading):
        slot.check()
    gate.opened.set()
    assert await loading > 0
    assert slot.state is State.READY
    assert slot.check().dimensions == 384


async def test_a_missing_model_is_a_failed_engine_that_says_why() -> None:
    def missing() -> FakeEmbedder:
        raise ModelMissing(model="minilm", directory="/models")

    slot = make_slot(missing)
    with pytest.raises(ModelMissing):
        await slot.load()
    assert slot.state is State.FAILED
    with pytest.raises(ModelMissing, match="barnabee models fetch"):
        slot.check()


async def test_memory_that_runs_out_has_a_code_of_its_own() -> None:
    def greedy() -> FakeEmbedder:
        msg = "CUDA failed with error out of memory"
        raise RuntimeError(msg)

    with pytest.raises(VramExhausted, match="CUDA failed"):
        await make_slot(greedy).load()


async def test_an_engine_that_refuses_to_be_unloaded_stays_and_works() -> None:
    class Stubborn(FakeEmbedder):
        def close(self) -> None:
            msg = "still referenced"
            raise RuntimeError(msg)

    slot = make_slot(Stubborn)
    await slot.load()
    with pytest.raises(DependencyDown, match="still referenced"):
        await slot.unload()
    assert slot.state is State.READY
    assert len(slot.check().embed(["a"]).vectors) == 1


async def test_unloading_lets_go_of_the_engine() -> None:
    slot = make_slot(FakeEmbedder)
    await slot.load()
    await slot.unload()
    assert slot.state is State.ABSENT


async def test_a_job_over_the_limit_makes_the_engine_stuck_until_it_ends() -> None:
    gate, slot = Gate(), make_slot(FakeEmbedder)
    await slot.load()
    slot.limit_s = 0.0
    job = asyncio.create_task(slot.lane.run(gate.passed))
    await asyncio.to_thread(gate.reached.wait)
    assert slot.state is State.STUCK
    with pytest.raises(EngineStuck):
        slot.check()
    gate.opened.set()
    await job
    slot.lane.wait_idle(5)
    assert slot.state is State.READY
