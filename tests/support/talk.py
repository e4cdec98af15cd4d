"""The voice service with everything it needs, engines being stand-ins, and somebody who talks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from barnabee.core.http import Front
from barnabee.core.schema import System
from barnabee.gpu.metrics import GpuMetrics
from barnabee.testing.engines import FakeEars, FakeVoice, FakeWakeWords
from support.gpu_app import Starter
from support.serve import served
from support.voice import FakeApi, Microphone, Voice, silence, voice

AHEAD_S = 30  # tests need not wait as long as a sentence lasts


@dataclass
class House:
    voice: Voice
    api: FakeApi
    ears: FakeEars
    mouth: FakeVoice
    wake: FakeWakeWords
    gpu: GpuMetrics
    data: Path

    def false_wakes(self) -> float:
        labels = {"room": "other", "word": "hey_jarvis"}
        return self.gpu.registry.get_sample_value("barnabee_false_wake_total", labels) or 0.0


@asynccontextmanager
async def talk_house(
    data: Path, graph: System | None = None, ears: FakeEars | None = None
) -> AsyncIterator[House]:
    """Serve all of it while inside."""
    async with AsyncExitStack() as stack:
        mouth, wake, api, hears = FakeVoice(), FakeWakeWords(), FakeApi(), ears or FakeEars()
        start = Starter(stack)
        service = await start(stt=lambda: hears, tts=lambda: mouth, wake=lambda: wake)
        gpu_url = await stack.enter_async_context(served(service.running.app, lifespan="off"))
        api_url = await stack.enter_async_context(served(api.app()))
        one = await stack.enter_async_context(voice(gpu_url, api_url, data, graph=graph))
        assert isinstance(service.running.app, Front)
        metrics = service.running.app.metrics
        assert isinstance(metrics, GpuMetrics)
        yield House(one, api, hears, mouth, wake, metrics, data)


@asynccontextmanager
async def woken(house: House, room: str = "kitchen") -> AsyncIterator[Microphone]:
    """Be a microphone that has just woken the assistant."""
    async with house.voice.talk(room) as microphone:
        frames = house.wake.frames
        await microphone.say(silence(0.08))
        await microphone.until(lambda: house.wake.frames > frames)
        await microphone.say(house.wake.saying("hey_jarvis"))
        await microphone.until_state("listening")
        yield microphone
