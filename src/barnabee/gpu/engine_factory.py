"""Engine factory: the engine of each model in `system.toml`, and the models this device can run.

Model files are folders below BARNABEE_MODELS: `cpu_files` on a CPU, `cuda_files` on a GPU. The
engines import their inference libraries themselves, on their own threads.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from barnabee.core.errors import SystemFileInvalid
from barnabee.gpu.capabilities import Capabilities, Capability
from barnabee.gpu.engines.base import Device
from barnabee.gpu.engines.kokoro import Kokoro, KokoroTorch
from barnabee.gpu.engines.llama_server import LlamaServer, ServerOptions
from barnabee.gpu.engines.minilm import MiniLm, MiniLmTorch
from barnabee.gpu.engines.parakeet import Parakeet
from barnabee.gpu.engines.wakeword import OpenWakeWord
from barnabee.gpu.engines.whisper import Whisper
from barnabee.gpu.model_runtime import ModelRuntime
from barnabee.gpu.vram.ledger import Ledger
from barnabee.gpu.vram.manager import VramManager

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from barnabee.core.schema import GpuConfig, ModelConfig, System
    from barnabee.core.settings import Settings
    from barnabee.gpu.metrics import GpuMetrics
    from barnabee.gpu.vram.probe import VramProbe

# OpenAI's model names, which clients written for its API send: aliases for any model of the task.
OPENAI_NAMES: Mapping[str, frozenset[str]] = {
    "stt": frozenset({"whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-transcribe"}),
    "tts": frozenset({"tts-1", "tts-1-hd", "gpt-4o-mini-tts"}),
    "embed": frozenset(
        {"text-embedding-3-small", "text-embedding-3-large", "text-embedding-ada-002"}
    ),
    "wake": frozenset(),
    "llm": frozenset({"local"}),  # what our api asks for
}
FALLBACK_PRIORITY = 3


def read_device(settings: Settings) -> Device:
    threads = settings.threads or len(os.sched_getaffinity(0))
    return Device(settings.device, threads, gpu=settings.gpu.partition(",")[0] or "0")


def select_models(system: System, device: Device) -> tuple[GpuConfig, dict[str, ModelConfig]]:
    """Return the memory to account for and the models that `device` can run. Pure.

    On a CPU the ledger accounts for main memory, up to the service's memory limit, and the first
    model of each task that has files becomes the preferred one.
    """
    models = {
        name: model
        for name, model in system.model.items()
        if model.task in OPENAI_NAMES and find_files(model, device)
    }
    if device.kind == "cuda":
        return system.gpu, models
    main_memory = system.gpu.model_copy(
        update={
            "name": "main memory",
            "vram_mib": system.service["gpu"].memory_max_mib,
            "headroom_mib": system.gpu.cpu_headroom_mib,
        }
    )
    tasks = {model.task for model in models.values()}
    preferred = {task: _find_preferred(models, task) for task in tasks}

    def adapt(name: str, model: ModelConfig) -> ModelConfig:
        is_preferred = name == preferred[model.task]
        priority = _task_priority(system, model.task) if is_preferred else FALLBACK_PRIORITY
        role = {} if model.task == "llm" else {"preload": is_preferred, "priority": priority}
        return model.model_copy(update={"vram_peak_mib": model.cpu_peak_mib, **role})

    return main_memory, {name: adapt(name, model) for name, model in models.items()}


def find_files(model: ModelConfig, device: Device) -> str | None:
    """Return the name of the folder with the model's files for `device`, None without one."""
    return model.cpu_files if device.kind == "cpu" else model.cuda_files


def make_capabilities(
    system: System, settings: Settings, metrics: GpuMetrics, probe: VramProbe
) -> Capabilities:
    """Return the capabilities of this device; no model is loaded yet."""
    device = read_device(settings)
    memory, models = select_models(system, device)
    loaders = _make_loaders(system, settings, probe.children)
    runtimes = [
        ModelRuntime(
            model.task,
            PurePath(files).name,
            partial(loaders[model.engine], settings.models_dir / files),
            name=name,
            inference_limit_s=model.lease_limit_ms / 1000,
        )
        for name, model in models.items()
        if (files := find_files(model, device))
    ]
    return assemble_capabilities(Ledger(memory, models), runtimes, probe, metrics)


def find_preferred_files(system: System, settings: Settings, task: str) -> tuple[str, Path]:
    """Return the engine name and the model folder of a task's preferred model on this device."""
    device = read_device(settings)
    _, models = select_models(system, device)
    model = models[_find_preferred(models, task)]
    files = find_files(model, device)
    if files is None:
        raise _missing_model(task)
    return model.engine, settings.models_dir / files


def load_engine(system: System, settings: Settings, task: str) -> Any:
    """Load a task's preferred engine in this process, without the service (build, deployment)."""
    engine, files = find_preferred_files(system, settings, task)
    return _make_loaders(system, settings, set())[engine](files)


def assemble_capabilities(
    ledger: Ledger,
    runtimes: Iterable[ModelRuntime[Any]],
    probe: VramProbe,
    metrics: GpuMetrics,
    *,
    aliases: Mapping[str, frozenset[str]] = OPENAI_NAMES,
) -> Capabilities:
    """Group `runtimes` into capabilities under one VRAM manager."""
    runtimes = tuple(runtimes)
    manager = VramManager(ledger, runtimes, probe, metrics)

    def make_capability(task: str) -> Capability[Any]:
        candidates = [runtime for runtime in runtimes if runtime.task == task]
        if not candidates:
            raise _missing_model(task)
        candidates.sort(key=lambda runtime: ledger.reservations[runtime.name].priority)
        return Capability(task, tuple(candidates), manager, aliases[task])

    return Capabilities(
        stt=make_capability("stt"),
        tts=make_capability("tts"),
        embed=make_capability("embed"),
        wake=make_capability("wake"),
        manager=manager,
        llm=make_capability("llm") if any(one.task == "llm" for one in runtimes) else None,
    )


def _make_loaders(
    system: System, settings: Settings, children: set[subprocess.Popen[bytes]]
) -> Mapping[str, Callable[[Path], Any]]:
    """Return the function that loads each engine of `system.toml` from its files."""
    device = read_device(settings)
    kokoro = KokoroTorch if device.kind == "cuda" else Kokoro
    minilm = MiniLmTorch if device.kind == "cuda" else MiniLm
    server = ServerOptions(settings.llama_server, settings.llm_context_tokens, device, children)
    return {
        "parakeet": lambda files: Parakeet.load(files, device=device),
        "whisper": lambda files: Whisper.load(files, device=device),
        "kokoro": lambda files: kokoro.load(files, system.voice, device=device),
        "minilm": lambda files: minilm.load(files, device=device),
        "openwakeword": lambda files: OpenWakeWord.load(files, system.wake.words),
        "llama-server": lambda files: LlamaServer.load(files, server),
    }


def _missing_model(task: str) -> SystemFileInvalid:
    problem = f"system.toml: model: none with task {task!r} has files for this device"
    return SystemFileInvalid(problems=problem)


def _find_preferred(models: Mapping[str, ModelConfig], task: str) -> str:
    priorities = {name: model.priority for name, model in models.items() if model.task == task}
    return min(priorities, key=lambda name: priorities[name])


def _task_priority(system: System, task: str) -> int:
    return min(model.priority for model in system.model.values() if model.task == task)
