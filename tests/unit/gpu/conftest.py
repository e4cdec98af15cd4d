"""The inference service with fake engines, in this process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from barnabee.core import system
from barnabee.core.access import Access
from barnabee.core.serve import Running
from barnabee.core.settings import Settings
from barnabee.gpu.app import build
from barnabee.gpu.engines.protocols import Engine
from barnabee.gpu.metrics import GpuMetrics
from barnabee.gpu.slots import Slot, Slots
from barnabee.testing.engines import FakeEars, FakeEmbedder, FakeVoice

TOKEN = "made-up"


@dataclass
class Service:
    """The service and a client that has its token."""

    running: Running
    slots: Slots
    client: httpx.AsyncClient


Start = Callable[..., AsyncIterator[Service]]


@pytest.fixture
async def start() -> AsyncIterator[Callable[..., object]]:
    async with AsyncExitStack() as stack:

        async def begin(
            *,
            stt: Callable[[], Engine] = FakeEars,
            tts: Callable[[], Engine] = FakeVoice,
            embed: Callable[[], Engine] = FakeEmbedder,
            wait: bool = True,
        ) -> Service:
            metrics = GpuMetrics("gpu")
            slots = Slots(
                Slot("stt", "whisper-base", stt, metrics, frozenset({"whisper-1"})),
                Slot("tts", "kokoro-int8", tts, metrics, frozenset({"tts-1"})),
                Slot("embed", "minilm-int8", embed, metrics, frozenset({"embeddings"})),
            )
            graph = system.load(Path(__file__).parents[3] / "system.toml")
            running = build(graph, Settings(), slots=slots, access=Access(TOKEN), metrics=metrics)
            inner = running.app.app
            await stack.enter_async_context(inner.router.lifespan_context(inner))
            if wait:
                for slot in slots.all():
                    await slot.lane.run(lambda: None)
            transport = httpx.ASGITransport(running.app)
            headers = {"Authorization": f"Bearer {TOKEN}"}
            client = httpx.AsyncClient(
                transport=transport, base_url="http://gpu", headers=headers, timeout=30
            )
            return Service(running, slots, await stack.enter_async_context(client))

        yield begin
