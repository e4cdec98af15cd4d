"""The gpu service of a VM test: the real one, with engines that need no model and no card.

It hears the deep probe's question in whatever sounds, and speaks in tones.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from barnabee.clients import probe
from barnabee.core import serve, system
from barnabee.core.auth import Access
from barnabee.core.settings import Settings, required_credential
from barnabee.gpu import app, engine_factory
from barnabee.gpu.engines.device import Device
from barnabee.gpu.engines.protocols import Embeddings
from barnabee.gpu.metrics import GpuMetrics
from barnabee.gpu.model_runtime import Slot
from barnabee.gpu.vram.ledger import Ledger
from barnabee.testing import gpu
from barnabee.testing.engines import FakeEars, FakeEmbedder, FakeVoice, FakeWakeWords
from barnabee.testing.gpu_memory import FakeCard


class Words(FakeEmbedder):
    """Vectors by words without their marks, as the tests of understanding have them."""

    def embed(self, texts: Sequence[str]) -> Embeddings:
        """Return one row for each text."""
        rows = np.stack([gpu.vector(text) for text in texts])
        return Embeddings(rows, tuple(len(text.split()) for text in texts))


def build(graph: system.System, settings: Settings) -> serve.Running:
    """Return the service; its engines are loaded as real ones are."""
    metrics = GpuMetrics("gpu")
    card, models = engine_factory.tables(graph, Device("cpu"))
    slots = [
        Slot("stt", "whisper-base", lambda: FakeEars(probe.TEXT), name="whisper"),
        Slot("tts", "kokoro-int8", FakeVoice, name="kokoro"),
        Slot("embed", "minilm", Words, name="embeddings"),
        Slot("wake", "openwakeword", FakeWakeWords, name="wakeword"),
    ]
    ledger = Ledger(card, {slot.name: models[slot.name] for slot in slots})
    tasks = engine_factory.assemble(ledger, slots, FakeCard(card.vram_mib), metrics)
    access = Access(required_credential("api_token"))
    return app.build(graph, settings, tasks=tasks, access=access, metrics=metrics)


if __name__ == "__main__":
    serve.run("gpu", build)
