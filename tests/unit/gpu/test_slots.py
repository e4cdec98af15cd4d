from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from barnabee.core.errors import DependencyDown, Loading, ModelMissing
from barnabee.gpu import slots as slots_module
from barnabee.gpu.metrics import GpuMetrics
from barnabee.gpu.slots import Slot, State
from barnabee.testing.engines import FakeEars, FakeEmbedder, FakeVoice, Gate


def make_slot(make: Callable[[], Any], task: str = "embed") -> Slot[Any]:
    return Slot(task, "fake", make, GpuMetrics("gpu"))


def sample(metrics: GpuMetrics, name: str, task: str) -> float | None:
    return metrics.registry.get_sample_value(name, {"task": task, "engine": "fake"})


async def test_an_engine_is_ready_only_after_its_first_inference() -> None:
    gate = Gate()

    class Slow(FakeEmbedder):
        def warm_up(self) -> None:
            gate.passed()

    slot = make_slot(Slow)
    loading = asyncio.create_task(slot.load())
    await asyncio.to_thread(gate.reached.wait)
    assert slot.state is State.LOADING
    with pytest.raises(Loading):
        slot.check()
    gate.opened.set()
    assert await loading
    assert slot.state is State.READY
    assert slot.check().dimensions == 384


async def test_a_missing_model_is_a_failed_engine_that_says_why() -> None:
    def missing() -> FakeEmbedder:
        raise ModelMissing(model="minilm-int8", directory="/models")

    slot = make_slot(missing)
    assert not await slot.load()
    assert slot.state is State.FAILED
    with pytest.raises(ModelMissing, match="barnabee models fetch"):
        async with slot.lease():
            pass


async def test_a_failed_engine_comes_back_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots_module, "RETRY_FIRST_S", 0.001)
    results = iter([ModelMissing(model="m", directory="d"), RuntimeError("bad"), FakeEmbedder()])

    def make() -> FakeEmbedder:
        result = next(results)
        if isinstance(result, Exception):
            raise result
        return result

    slot = make_slot(make)
    await slot.keep()
    assert (slot.state, slot.error) == (State.READY, None)


async def test_a_use_is_measured_with_its_audio() -> None:
    slot = make_slot(FakeVoice, task="tts")
    await slot.load()
    async with slot.lease() as use:
        use.audio_s = 0.0
        job = use.each(lambda: use.engine.speak("One. Two.", voice="barnabee", speed=1.0))
        chunks = [chunk async for chunk in job]
        use.audio_s = sum(map(len, chunks)) / use.engine.sample_rate_hz
    assert len(chunks) == 2
    assert sample(slot.metrics, "barnabee_inference_seconds_count", "tts") == 1
    assert sample(slot.metrics, "barnabee_inference_queue_seconds_count", "tts") == 1
    heard = sample(slot.metrics, "barnabee_inference_audio_seconds_total", "tts")
    assert heard == pytest.approx(0.08, abs=0.001)
    assert sample(slot.metrics, "barnabee_inference_real_time_factor_count", "tts") == 1


async def test_between_two_steps_of_a_long_use_others_get_their_turn() -> None:
    slot = make_slot(lambda: FakeEars(text="One. Two. Three."), task="stt")
    await slot.load()
    sound = FakeVoice().speak("a long story", voice="barnabee", speed=1.0)
    samples = next(sound)
    async with slot.lease() as long, slot.lease() as short:
        steps = long.each(lambda: long.engine.transcribe(samples, language="en"))
        assert (await anext(steps)).text == " One."
        assert await short.call(lambda: "in between") == "in between"
        assert [step.text async for step in steps] == [" Two.", " Three."]


async def test_an_engine_that_breaks_in_use_stays_and_the_user_is_told() -> None:
    slot = make_slot(FakeEmbedder)
    await slot.load()

    def explode() -> None:
        raise MemoryError("no more")

    with pytest.raises(DependencyDown, match="no more"):
        async with slot.lease() as use:
            await use.call(explode)
    async with slot.lease() as use:
        assert len((await use.call(lambda: use.engine.embed(["a"]))).vectors) == 1
