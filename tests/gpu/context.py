"""What a section measures with: device, weights, results, and helpers that time and load."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

from barnabee.core import system
from barnabee.core.schema import GpuConfig, ModelConfig, System
from barnabee.gpu.engine_factory import select_models
from barnabee.gpu.engines.base import Device
from barnabee.gpu.vram.probe import VramProbe, open_probe
from gpu.report import Recorder

T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[2]
AUDIO = ROOT / "tests" / "audio"
SAMPLE_INTERVAL_S = 0.01


@dataclass(frozen=True)
class Bench:
    """Settings of a run, and the recorder of the section."""

    device: Device
    models: Path  # folder with the names of system.toml
    recorder: Recorder
    repeats: int = 20
    rooms: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    seconds: float = 5.0  # of each level of load
    quick: bool = False
    builder: str = ""  # a Python with the package `onnx`, when this one has none
    system: System = field(default_factory=lambda: system.load_system(ROOT / "system.toml"))

    @property
    def is_cuda(self) -> bool:
        return self.device.kind == "cuda"

    def cuda_model(self, name: str) -> ModelConfig:
        """Return what system.toml declares of a model on a GPU."""
        return select_models(self.system, Device("cuda"))[1][name]

    def files(self, name: str) -> Path:
        """Return the folder of a model's files on a GPU."""
        return self.models / str(self.cuda_model(name).cuda_files)

    def make_gpu_config(self, vram_mib: int, headroom_mib: int) -> GpuConfig:
        changes = {"vram_mib": vram_mib, "headroom_mib": headroom_mib, "wait_limit_ms": 60_000}
        return self.system.gpu.model_copy(update=changes)

    def open_probe(self) -> VramProbe:
        return open_probe(self.device, self.system.service["gpu"].memory_max_mib)

    def open_context(self) -> None:
        """Open torch's CUDA context, so that its memory is not counted for a model."""
        if self.is_cuda and find_spec("torch"):
            import torch  # noqa: PLC0415 - only on a GPU

            torch.zeros(1, device=torch.device("cuda", self.device.index))


def count_cores() -> int:
    return len(os.sched_getaffinity(0))


def time_runs(job: Callable[[], object], repeats: int) -> list[float]:
    """Return the seconds of each run."""
    times_s = []
    for _ in range(repeats):
        begun_s = time.perf_counter()
        job()
        times_s.append(time.perf_counter() - begun_s)
    return times_s


@dataclass
class PeakSampler:
    """Highest memory of this process while the block runs, read in a thread."""

    probe: VramProbe
    peak_mib: int = 0
    readings: int = 0

    @contextmanager
    def sample(self) -> Iterator[None]:
        ended = threading.Event()
        thread = threading.Thread(target=self._read, args=(ended,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _read(self, ended: threading.Event) -> None:
        while True:
            self.peak_mib = max(self.peak_mib, self.probe.read().process_mib)
            self.readings += 1
            if ended.wait(SAMPLE_INTERVAL_S):
                return


def read_wav(name: str) -> Any:
    """Return the samples of a recording at 16 kHz."""
    from barnabee.audio import wav  # noqa: PLC0415 - not needed by most sections
    from barnabee.audio.samples import STT_RATE_HZ  # noqa: PLC0415

    return wav.decode(wav.parse((AUDIO / name).read_bytes(), max_s=60), STT_RATE_HZ)
