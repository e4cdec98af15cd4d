"""Which engine is made for which model of `system.toml`, and what the card is on this device.

Files are folders below BARNABEE_MODELS: `cpu_files` on a CPU, `cuda_files` on a card. The imports
of inference libraries happen inside the engines, on their own threads.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from barnabee.core.errors import SystemFileInvalid
from barnabee.gpu.capabilities import Task, Tasks
from barnabee.gpu.engines.device import Device
from barnabee.gpu.engines.kokoro import Kokoro
from barnabee.gpu.engines.kokoro_torch import KokoroTorch
from barnabee.gpu.engines.minilm import MiniLm
from barnabee.gpu.engines.minilm_torch import MiniLmTorch
from barnabee.gpu.engines.parakeet import Parakeet
from barnabee.gpu.engines.wakeword import WakeWord
from barnabee.gpu.engines.whisper import Whisper
from barnabee.gpu.model_runtime import Slot
from barnabee.gpu.vram.ledger import Ledger
from barnabee.gpu.vram.manager import Manager

if TYPE_CHECKING:
    from pathlib import Path

    from barnabee.core.schema import Card, Model, System
    from barnabee.core.settings import Settings
    from barnabee.gpu.metrics import GpuMetrics
    from barnabee.gpu.vram.probe import Probe

# Programs written for OpenAI's service send these names; here they mean whatever does the task.
OPENAI_NAMES = {
    "stt": {"whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-transcribe"},
    "tts": {"tts-1", "tts-1-hd", "gpt-4o-mini-tts"},
    "embed": {"text-embedding-3-small", "text-embedding-3-large", "text-embedding-ada-002"},
    "wake": frozenset[str](),
}


def device_of(settings: Settings) -> Device:
    """Return where engines compute."""
    return Device(settings.device, settings.threads or len(os.sched_getaffinity(0)))


def tables(system: System, device: Device) -> tuple[Card, dict[str, Model]]:
    """Return the card and the models that can run on `device`, as the ledger counts them. Pure.

    Without a card the same ledger counts main memory: its size is the service's memory limit. There
    the first model of a task that has files is the main one, whatever it is elsewhere.
    """
    chosen = {
        name: model
        for name, model in system.model.items()
        if model.task in OPENAI_NAMES and files_of(model, device)
    }
    if device.kind == "cuda":
        return system.card, chosen
    card = system.card.model_copy(
        update={
            "name": "main memory",
            "vram_mib": system.service["gpu"].memory_max_mib,
            "headroom_mib": system.card.cpu_headroom_mib,
        }
    )
    mains = {task: _main(chosen, task) for task in {model.task for model in chosen.values()}}
    return card, {
        name: model.model_copy(
            update={
                "vram_peak_mib": model.cpu_peak_mib,
                "preload": name == mains[model.task],
                "priority": _importance(system, model) if name == mains[model.task] else 3,
            }
        )
        for name, model in chosen.items()
    }


def files_of(model: Model, device: Device) -> str | None:
    """Return the folder of a model's files for `device`."""
    return model.cpu_files if device.kind == "cpu" else model.cuda_files


def build(system: System, settings: Settings, metrics: GpuMetrics, probe: Probe) -> Tasks:
    """Return the tasks with their engines, nothing loaded yet."""
    device = device_of(settings)
    card, models = tables(system, device)
    makers = _makers(system, device)
    slots = {
        name: Slot(
            model.task,
            files,
            _maker(makers[model.engine], settings.models_dir / files),
            name=name,
            limit_s=model.lease_limit_ms / 1000,
        )
        for name, model in models.items()
        if (files := files_of(model, device))
    }
    return assemble(Ledger(card, models), slots.values(), probe, metrics)


def main_files(system: System, settings: Settings, task: str) -> tuple[str, Path]:
    """Return the engine of a task's main model on this device, and the folder of its files."""
    device = device_of(settings)
    _, models = tables(system, device)
    model = models[_main(models, task)]
    files = files_of(model, device)
    if files is None:
        problem = f"system.toml: model: none with task {task!r} has files for this device"
        raise SystemFileInvalid(problems=problem)
    return model.engine, settings.models_dir / files


def load_outside(system: System, settings: Settings, task: str) -> Any:
    """Load the main model of a task without the service, for work at build or deployment time."""
    engine, files = main_files(system, settings, task)
    return _makers(system, device_of(settings))[engine](files)


def assemble(
    ledger: Ledger, slots: Any, probe: Probe, metrics: GpuMetrics, *, aliases: Any = OPENAI_NAMES
) -> Tasks:
    """Return the tasks of these slots under one manager."""
    every = tuple(slots)
    manager = Manager(ledger, every, probe, metrics)

    def task(name: str) -> Task[Any]:
        mine = [slot for slot in every if slot.task == name]
        if not mine:
            problem = f"system.toml: model: none with task {name!r} has files for this device"
            raise SystemFileInvalid(problems=problem)
        mine.sort(key=lambda slot: ledger.claims[slot.name].priority)
        return Task(name, tuple(mine), manager, frozenset(aliases[name]))

    return Tasks(task("stt"), task("tts"), task("embed"), task("wake"), manager)


def _makers(system: System, device: Device) -> Mapping[str, Callable[[Path], Any]]:
    """Return what loads each engine of `system.toml` from its folder, on this device."""
    kokoro = KokoroTorch if device.kind == "cuda" else Kokoro
    minilm = MiniLmTorch if device.kind == "cuda" else MiniLm
    return {
        "parakeet": lambda files: Parakeet.load(files, device=device),
        "whisper": lambda files: Whisper.load(files, device=device),
        "kokoro": lambda files: kokoro.load(files, system.voice, device=device),
        "minilm": lambda files: minilm.load(files, device=device),
        "openwakeword": lambda files: WakeWord.load(files, system.wake.words),
    }


def _maker(make: Callable[[Path], Any], files: Path) -> Callable[[], Any]:
    return lambda: make(files)


def _main(models: Mapping[str, Model], task: str) -> str:
    mine = {name: model.priority for name, model in models.items() if model.task == task}
    return min(mine, key=lambda name: mine[name])


def _importance(system: System, model: Model) -> int:
    return min(other.priority for other in system.model.values() if other.task == model.task)
