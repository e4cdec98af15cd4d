"""Inference service with fake engines, in the test's own process."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI

from barnabee.core import system
from barnabee.core.auth import Authenticator
from barnabee.core.http import ServiceMiddleware
from barnabee.core.serve import ServiceApp
from barnabee.core.settings import Settings
from barnabee.gpu import engine_factory
from barnabee.gpu.app import build_inference_service
from barnabee.gpu.capabilities import Capabilities
from barnabee.gpu.engines.base import (
    Device,
    LanguageModel,
    SpeechToText,
    TextEmbedder,
    TextToSpeech,
    WakeWordEngine,
)
from barnabee.gpu.metrics import GpuMetrics
from barnabee.gpu.model_runtime import ModelRuntime
from barnabee.gpu.vram.ledger import Ledger
from support.fake_engines import (
    FakeEmbedder,
    FakeGpuMemory,
    FakeSynthesizer,
    FakeTranscriber,
    FakeWakeWordEngine,
)
from support.wait import wait_until

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "made-up"


@dataclass
class RunningService:
    """A started service, and a client with its token."""

    running: ServiceApp
    capabilities: Capabilities
    memory: FakeGpuMemory
    client: httpx.AsyncClient


@dataclass
class ServiceStarter:
    """Starts services that end with the stack."""

    stack: AsyncExitStack

    async def __call__(
        self,
        *,
        stt: Callable[[], SpeechToText] = FakeTranscriber,
        tts: Callable[[], TextToSpeech] = FakeSynthesizer,
        embed: Callable[[], TextEmbedder] = FakeEmbedder,
        wake: Callable[[], WakeWordEngine] = FakeWakeWordEngine,
        fallback: Callable[[], SpeechToText] | None = None,
        llm: Callable[[set[subprocess.Popen[bytes]]], LanguageModel] | None = None,
        llm_mib: int = 0,
        wait: bool = True,
    ) -> RunningService:
        """Start a service with these engines; `wait` until the preloaded ones are loaded.

        With `fallback`, `stt` is Parakeet and `fallback` is Whisper, which is not preloaded. `llm`
        gets the set that a server's process belongs into.
        """
        metrics = GpuMetrics("gpu")
        graph = system.load_system(ROOT / "system.toml")
        config, models = engine_factory.select_models(graph, Device("cpu"))
        memory = FakeGpuMemory(config.vram_mib)
        runtimes: list[ModelRuntime[Any]] = [
            ModelRuntime("stt", "whisper-base", stt, name="whisper"),
            ModelRuntime("tts", "kokoro-int8", tts, name="kokoro"),
            ModelRuntime("embed", "minilm", embed, name="embeddings"),
            ModelRuntime("wake", "openwakeword", wake, name="wakeword"),
        ]
        if fallback:
            runtimes[0].name, runtimes[0].model_id = "parakeet", "parakeet-small"
            runtimes.append(ModelRuntime("stt", "whisper-base", fallback, name="whisper"))
            models["parakeet"] = models["whisper"]
            models["whisper"] = models["whisper"].model_copy(
                update={"preload": False, "priority": 3}
            )
        if llm:
            runtimes.append(ModelRuntime("llm", "small", lambda: llm(memory.children), name="llm"))
            config = config.model_copy(update={"wait_limit_ms": 120_000})  # it starts a process
            changes = {"task": "llm", "preload": False, "priority": 9, "vram_peak_mib": llm_mib}
            models["llm"] = models["whisper"].model_copy(update=changes)
        used = {runtime.name: models[runtime.name] for runtime in runtimes}
        capabilities = engine_factory.assemble_capabilities(
            Ledger(config, used), runtimes, memory, metrics
        )
        running = build_inference_service(
            graph,
            Settings(),
            capabilities=capabilities,
            access=Authenticator(TOKEN),
            metrics=metrics,
        )
        assert isinstance(running.app, ServiceMiddleware)
        assert isinstance(running.app.app, FastAPI)
        inner = running.app.app
        await self.stack.enter_async_context(inner.router.lifespan_context(inner))
        if wait:
            preloaded = [name for name in used if used[name].preload]
            attempted = capabilities.manager.has_attempted_load
            await wait_until(lambda: all(attempted(name) for name in preloaded))
        headers = {"Authorization": f"Bearer {TOKEN}"}
        transport = httpx.ASGITransport(running.app)
        client = httpx.AsyncClient(transport=transport, base_url="http://gpu", headers=headers)
        return RunningService(
            running, capabilities, memory, await self.stack.enter_async_context(client)
        )
