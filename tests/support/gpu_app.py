"""The inference service with stand-ins for its engines, in this process."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
from fastapi import FastAPI

from barnabee.core import system
from barnabee.core.auth import Access
from barnabee.core.http import Front
from barnabee.core.serve import Running
from barnabee.core.settings import Settings
from barnabee.gpu import engine_factory
from barnabee.gpu.app import build
from barnabee.gpu.capabilities import Tasks
from barnabee.gpu.engines.device import Device
from barnabee.gpu.engines.protocols import Embedder, SpeechToText, TextToSpeech, WakeWords
from barnabee.gpu.metrics import GpuMetrics
from barnabee.gpu.model_runtime import Slot
from barnabee.gpu.vram.ledger import Ledger
from barnabee.testing.engines import FakeEars, FakeEmbedder, FakeVoice, FakeWakeWords
from barnabee.testing.gpu_memory import FakeCard
from support.wait import until

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "made-up"


@dataclass
class Service:
    """The service and a client that has its token."""

    running: Running
    tasks: Tasks
    card: FakeCard
    client: httpx.AsyncClient


@dataclass
class Starter:
    """Starts services; they end with the stack."""

    stack: AsyncExitStack

    async def __call__(
        self,
        *,
        stt: Callable[[], SpeechToText] = FakeEars,
        tts: Callable[[], TextToSpeech] = FakeVoice,
        embed: Callable[[], Embedder] = FakeEmbedder,
        wake: Callable[[], WakeWords] = FakeWakeWords,
        fallback: Callable[[], SpeechToText] | None = None,
        wait: bool = True,
    ) -> Service:
        """Return a service whose engines are made like this; `wait` until they are loaded."""
        metrics = GpuMetrics("gpu")
        graph = system.load(ROOT / "system.toml")
        card, models = engine_factory.tables(graph, Device("cpu"))
        fake = FakeCard(card.vram_mib)
        slots = [
            Slot("stt", "whisper-base", stt, name="whisper"),
            Slot("tts", "kokoro-int8", tts, name="kokoro"),
            Slot("embed", "minilm", embed, name="embeddings"),
            Slot("wake", "openwakeword", wake, name="wakeword"),
        ]
        if fallback:  # the first ear is then Parakeet, and Whisper is there in case
            slots[0].name, slots[0].model = "parakeet", "parakeet-small"
            slots.append(Slot("stt", "whisper-base", fallback, name="whisper"))
            models["parakeet"] = models["whisper"]
            models["whisper"] = models["whisper"].model_copy(
                update={"preload": False, "priority": 3}
            )
        own = {slot.name: models[slot.name] for slot in slots}
        tasks = engine_factory.assemble(Ledger(card, own), slots, fake, metrics)
        running = build(graph, Settings(), tasks=tasks, access=Access(TOKEN), metrics=metrics)
        assert isinstance(running.app, Front)
        assert isinstance(running.app.app, FastAPI)
        inner = running.app.app
        await self.stack.enter_async_context(inner.router.lifespan_context(inner))
        if wait:
            there = [name for name in own if own[name].preload]
            await until(lambda: all(tasks.manager.was_tried(name) for name in there))
        headers = {"Authorization": f"Bearer {TOKEN}"}
        transport = httpx.ASGITransport(running.app)
        client = httpx.AsyncClient(transport=transport, base_url="http://gpu", headers=headers)
        return Service(running, tasks, fake, await self.stack.enter_async_context(client))
