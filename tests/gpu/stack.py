"""The product's manager and ledger over real engines, for the sections about memory.

On a CPU the memory is simulated: the engines are real, and a simulated driver counts them.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from barnabee.core.errors import BarnabeeError
from barnabee.gpu.engines.kokoro import KokoroTorch
from barnabee.gpu.engines.minilm import MiniLm, MiniLmTorch
from barnabee.gpu.engines.whisper import Whisper
from barnabee.gpu.metrics import GpuMetrics
from barnabee.gpu.model_runtime import ModelRuntime
from barnabee.gpu.vram.ledger import Ledger
from barnabee.gpu.vram.manager import VramManager
from barnabee.gpu.vram.probe import VramProbe
from gpu import simulation
from gpu.context import Bench
from gpu.doctor import REQUIREMENTS
from support import kokoro_network
from support.fake_engines import FakeGpuMemory
from support.wait import wait_until

SIMULATED_MIB = 16_384
HEADROOM_MIB = 256
RECOVER_S = 20.0
# One engine of each library, with its model and its word in `doctor.MODULES`.
ENGINES = {
    "MiniLM": ("embeddings", "minilm"),
    "Kokoro": ("kokoro", "kokoro"),
    "Whisper": ("whisper", "whisper"),
    "MiniLM ONNX": ("embeddings", "onnxruntime"),
}
HEADROOM_MIB = 256


@dataclass(frozen=True)
class Stack:
    """Engines by model name, and the memory they are measured in."""

    bench: Bench
    simulated: FakeGpuMemory
    unmet: Mapping[str, str]  # the doctor's reasons

    @property
    def probe(self) -> VramProbe:
        return self.bench.open_probe() if self.bench.is_cuda else self.simulated

    def make_runtime(self, engine: str, name: str) -> ModelRuntime[Any]:
        """Return a runtime of `engine` under the name of a model of system.toml."""
        model = self.bench.cuda_model(name)
        make = self._make_loader(engine)
        if not self.bench.is_cuda:
            size_mib = model.vram_reserved_mib or 512
            make = simulation.count_memory(make, self.simulated, name, size_mib)
        return ModelRuntime(model.task, name, make, inference_limit_s=model.lease_limit_ms / 1000)

    def choose_engine(self, model: str) -> str:
        """Return the engine of a model, or MiniLM in its place when that engine cannot run."""
        engine = next(name for name, (one, _) in ENGINES.items() if one == model)
        if not self.unmet.get(ENGINES[engine][1]):
            return engine
        self.bench.recorder.record(f"engine of {model}", "stand-in: MiniLM")
        return "MiniLM"

    def _make_loader(self, engine: str) -> Callable[[], Any]:
        device = self.bench.device
        files = self.bench.files(ENGINES[engine][0])
        voice = self.bench.system.voice.model_copy(update={"blend": kokoro_network.BLEND})
        loaders: Mapping[str, Callable[[], Any]] = {
            "MiniLM": lambda: MiniLmTorch.load(files, device=device),
            "MiniLM ONNX": lambda: MiniLm.load(files, device=device),
            "Kokoro": lambda: KokoroTorch.load(files, voice, device=device),
            "Whisper": lambda: Whisper.load(files, device=device),
        }
        return loaders[engine]

    @asynccontextmanager
    async def manage(
        self, names: tuple[str, ...], vram_mib: int, preload: tuple[str, ...] = ()
    ) -> AsyncIterator[VramManager]:
        """Run the product's manager over `names`, with the sizes that system.toml declares."""
        models = {
            name: self.bench.cuda_model(name).model_copy(update={"preload": name in preload})
            for name in names
        }
        ledger = Ledger(self.bench.make_gpu_config(vram_mib, HEADROOM_MIB), models)
        runtimes = [self.make_runtime(self.choose_engine(name), name) for name in names]
        manager = VramManager(ledger, runtimes, self.probe, GpuMetrics("gpu"))
        running = asyncio.create_task(manager.run())
        try:
            await wait_until(lambda: manager.memory.reading is not None or running.done())
            await wait_until(lambda: all(map(manager.has_attempted_load, preload)))
            yield manager
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            for runtime in runtimes:
                await runtime.unload()


def make_stack(bench: Bench) -> Stack:
    unmet = json.loads((bench.recorder.directory / REQUIREMENTS).read_text(encoding="utf-8"))
    return Stack(bench, FakeGpuMemory(SIMULATED_MIB), unmet)


async def lease_with_retries(manager: VramManager, model: str) -> float:
    """Ask for a model like a client that retries; return the seconds until it is leased."""
    begun_s = time.perf_counter()
    while True:
        try:
            async with manager.lease(model):
                return time.perf_counter() - begun_s
        except BarnabeeError:
            if time.perf_counter() - begun_s > RECOVER_S:
                raise
            await asyncio.sleep(0.1)
