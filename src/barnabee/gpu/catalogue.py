"""Which engine is made for which model of `system.toml`: the one list of them.

A model with `cpu_files` runs here on a CPU; the names are the folders below BARNABEE_MODELS. The
imports of inference libraries happen inside the engines, on their own threads.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from barnabee.core.errors import SettingInvalid, SystemFileInvalid
from barnabee.gpu.engines.device import Device
from barnabee.gpu.engines.kokoro import Kokoro
from barnabee.gpu.engines.minilm import MiniLm
from barnabee.gpu.engines.whisper import Whisper
from barnabee.gpu.slots import Slot, Slots

if TYPE_CHECKING:
    from pathlib import Path

    from barnabee.core.settings import Settings
    from barnabee.core.tables import System
    from barnabee.gpu.metrics import GpuMetrics

# Programs written for OpenAI's service send these names; here they mean the engine of the task.
OPENAI_NAMES = {
    "stt": {"whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-transcribe"},
    "tts": {"tts-1", "tts-1-hd", "gpt-4o-mini-tts"},
    "embed": {"text-embedding-3-small", "text-embedding-3-large", "text-embedding-ada-002"},
}


def on_cpu(system: System, settings: Settings, metrics: GpuMetrics) -> Slots:
    """Return the CPU engines, not loaded yet."""
    if settings.device != "cpu":
        hint = "set BARNABEE_DEVICE=cpu"
        raise SettingInvalid(name="BARNABEE_DEVICE", reason="engines run on a CPU", hint=hint)
    device = Device("cpu", settings.threads or len(os.sched_getaffinity(0)))

    def slot(task: str, make: Callable[[Path], Any]) -> Slot[Any]:
        name, files = _files(system, task)
        directory = settings.models_dir / files
        aliases = frozenset({name, *OPENAI_NAMES[task]})
        return Slot(task, files, lambda: make(directory), metrics, aliases)

    return Slots(
        stt=slot("stt", lambda files: Whisper.load(files, device=device)),
        tts=slot("tts", lambda files: Kokoro.load(files, system.voice, device=device)),
        embed=slot("embed", lambda files: MiniLm.load(files, device=device)),
    )


def _files(system: System, task: str) -> tuple[str, str]:
    for name, model in system.model.items():
        if model.task == task and model.cpu_files:
            return name, model.cpu_files
    problem = f"system.toml: model: none with task {task!r} has cpu_files; add it to one"
    raise SystemFileInvalid(problems=problem)
