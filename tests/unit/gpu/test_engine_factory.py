from __future__ import annotations

from pathlib import Path

import pytest

from barnabee.core import system
from barnabee.core.errors import Misconfigured, ModelMissing, SystemFileInvalid
from barnabee.core.settings import Settings
from barnabee.gpu import engine_factory
from barnabee.gpu.capabilities import Capabilities
from barnabee.gpu.engines.base import Device
from barnabee.gpu.metrics import GpuMetrics
from barnabee.gpu.model_runtime import RuntimeState
from support import parakeet_tdt
from support.fake_engines import FakeGpuMemory

GRAPH = system.load_system(Path(__file__).parents[3] / "system.toml")


def build(graph: system.System = GRAPH, **given: str) -> Capabilities:
    return engine_factory.make_capabilities(
        graph, Settings(**given), GpuMetrics("gpu"), FakeGpuMemory(4096)
    )


async def test_preferred_model_of_each_task_on_a_cpu(tmp_path: Path) -> None:
    capabilities = build(BARNABEE_MODELS=str(tmp_path))
    assert [
        (capability.name, capability.preferred.model_id) for capability in capabilities.all()
    ] == [
        ("stt", "whisper-base"),
        ("tts", "kokoro-int8"),
        ("embed", "minilm"),
        ("wake", "openwakeword"),
    ]
    assert (
        capabilities.find_runtime("whisper")
        is capabilities.find_runtime("whisper-1")
        is capabilities.find_runtime("whisper-base")
    )
    with pytest.raises(ModelMissing, match=str(tmp_path)):
        await capabilities.stt.preferred.load()


def test_cpu_ledger_counts_main_memory_and_all_models_fit() -> None:
    card, models = engine_factory.select_models(GRAPH, Device("cpu"))
    assert card.vram_mib == GRAPH.service["gpu"].memory_max_mib
    assert sum(one.vram_peak_mib for one in models.values()) < card.vram_mib - card.headroom_mib


def test_whisper_is_preferred_when_parakeet_has_no_cpu_files() -> None:
    _, models = engine_factory.select_models(GRAPH, Device("cpu"))
    assert (models["whisper"].preload, models["whisper"].priority) == (True, 1)


def test_gpu_models_are_as_declared_in_system_toml() -> None:
    card, models = engine_factory.select_models(GRAPH, Device("cuda"))
    assert card == GRAPH.gpu
    assert (models["parakeet"].priority, models["whisper"].preload) == (1, False)


def test_models_of_each_task_on_a_gpu() -> None:
    capabilities = build(BARNABEE_DEVICE="cuda")
    assert [
        (capability.name, [runtime.model_id for runtime in capability.runtimes])
        for capability in capabilities.all()
    ] == [
        ("stt", ["parakeet-tdt-0.6b-v3", "whisper-medium"]),
        ("tts", ["kokoro-v1.0"]),
        ("embed", ["minilm"]),
        ("wake", ["openwakeword"]),
    ]


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        ("parakeet", "install onnxruntime-gpu"),
        ("kokoro", "install the extra `gpu`"),
        ("whisper", "install the driver"),
    ],
)
async def test_missing_gpu_library_error_says_what_to_install(model: str, sentence: str) -> None:
    runtime = build(BARNABEE_DEVICE="cuda").find_runtime(model)
    with pytest.raises(Misconfigured, match=sentence):
        await runtime.load()
    assert runtime.state is RuntimeState.FAILED


async def test_custom_export_is_loaded_by_its_folder_name(tmp_path: Path) -> None:
    parakeet_tdt.write_export(tmp_path / "parakeet-tdt-1.1b", kind="parakeet-1.1b")
    mine = GRAPH.model["parakeet"].model_copy(update={"cpu_files": "parakeet-tdt-1.1b"})
    graph = GRAPH.model_copy(update={"model": {**GRAPH.model, "parakeet": mine}})
    capabilities = build(graph, BARNABEE_MODELS=str(tmp_path))
    assert capabilities.stt.preferred.model_id == "parakeet-tdt-1.1b"
    await capabilities.stt.preferred.load()
    assert capabilities.stt.preferred.require_engine().languages == {"en"}
    await capabilities.stt.preferred.unload()
    assert capabilities.stt.preferred.state is RuntimeState.ABSENT


def test_task_without_a_model_is_refused() -> None:
    models = {name: one for name, one in GRAPH.model.items() if one.task != "tts"}
    with pytest.raises(SystemFileInvalid, match="tts"):
        build(GRAPH.model_copy(update={"model": models}))
