"""Inference service of the flake's checks: the real one, its engines need no model and no GPU.

Recognises the deep probe's question in any audio, and synthesizes tones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from barnabee.clients import probe
from barnabee.core import serve, system
from barnabee.core.settings import Settings
from barnabee.gpu import app, engine_factory
from barnabee.gpu.engines.base import Device, Embeddings
from barnabee.gpu.metrics import GpuMetrics
from barnabee.gpu.model_runtime import ModelRuntime
from barnabee.gpu.vram.ledger import Ledger
from support import fake_engines
from support.fake_engines import (
    FakeEmbedder,
    FakeGpuMemory,
    FakeSynthesizer,
    FakeTranscriber,
    FakeWakeWordEngine,
)


class WordEmbedder(FakeEmbedder):
    """Embeds texts by their words without punctuation, as the tests of understanding do."""

    def embed(self, texts: Sequence[str]) -> Embeddings:
        rows = np.stack([fake_engines.make_vector(text) for text in texts])
        return Embeddings(rows, tuple(len(text.split()) for text in texts))


def build(graph: system.System, settings: Settings) -> serve.ServiceApp:
    metrics = GpuMetrics("gpu")
    memory, models = engine_factory.select_models(graph, Device("cpu"))
    runtimes: list[ModelRuntime[Any]] = [
        ModelRuntime("stt", "whisper-base", lambda: FakeTranscriber(probe.TEXT), name="whisper"),
        ModelRuntime("tts", "kokoro-int8", FakeSynthesizer, name="kokoro"),
        ModelRuntime("embed", "minilm", WordEmbedder, name="embeddings"),
        ModelRuntime("wake", "openwakeword", FakeWakeWordEngine, name="wakeword"),
    ]
    ledger = Ledger(memory, {runtime.name: models[runtime.name] for runtime in runtimes})
    capabilities = engine_factory.assemble_capabilities(
        ledger, runtimes, FakeGpuMemory(memory.vram_mib), metrics
    )
    return app.build_inference_service(graph, settings, capabilities=capabilities, metrics=metrics)


if __name__ == "__main__":
    serve.run_service("gpu", build)
