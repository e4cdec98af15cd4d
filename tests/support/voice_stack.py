"""Voice stack: voice, inference service with fake engines, and fake api."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from barnabee.core.http import ServiceMiddleware
from barnabee.core.schema import System
from barnabee.gpu.metrics import GpuMetrics
from support.asgi_server import serve_app
from support.fake_engines import FakeSynthesizer, FakeTranscriber, FakeWakeWordEngine
from support.gpu_app import ServiceStarter
from support.voice import FakeApi, Microphone, VoiceService, make_silence, run_voice_service

MAX_AHEAD_S = 30  # lets tests send audio faster than real time


@dataclass
class VoiceStack:
    """Running voice service and the fakes behind it."""

    voice: VoiceService
    api: FakeApi
    transcriber: FakeTranscriber
    synthesizer: FakeSynthesizer
    wake: FakeWakeWordEngine
    gpu: GpuMetrics
    data: Path

    def count_false_wakes(self) -> float:
        labels = {"room": "other", "word": "hey_jarvis"}
        return self.gpu.registry.get_sample_value("barnabee_false_wake_total", labels) or 0.0


@asynccontextmanager
async def run_voice_stack(
    data: Path, graph: System | None = None, transcriber: FakeTranscriber | None = None
) -> AsyncIterator[VoiceStack]:
    """Serve all services of the stack."""
    async with AsyncExitStack() as stack:
        synthesizer, wake, api = FakeSynthesizer(), FakeWakeWordEngine(), FakeApi()
        stt = transcriber or FakeTranscriber()
        start = ServiceStarter(stack)
        service = await start(stt=lambda: stt, tts=lambda: synthesizer, wake=lambda: wake)
        gpu_url = await stack.enter_async_context(serve_app(service.running.app, lifespan="off"))
        api_url = await stack.enter_async_context(serve_app(api.app()))
        voice = await stack.enter_async_context(
            run_voice_service(gpu_url, api_url, data, graph=graph)
        )
        assert isinstance(service.running.app, ServiceMiddleware)
        metrics = service.running.app.metrics
        assert isinstance(metrics, GpuMetrics)
        yield VoiceStack(voice, api, stt, synthesizer, wake, metrics, data)


@asynccontextmanager
async def open_woken_microphone(
    voice_stack: VoiceStack, room: str = "kitchen"
) -> AsyncIterator[Microphone]:
    """Connect a microphone and wake the assistant."""
    async with voice_stack.voice.talk(room) as microphone:
        frames = voice_stack.wake.frame_count
        await microphone.send_audio(make_silence(0.08))
        await microphone.wait_until(lambda: voice_stack.wake.frame_count > frames)
        await microphone.send_audio(voice_stack.wake.make_frame("hey_jarvis"))
        await microphone.wait_for_state("listening")
        yield microphone
