from __future__ import annotations

from pathlib import Path

import pytest

from barnabee.core import system
from barnabee.core.errors import Misconfigured, ModelMissing, SystemFileInvalid
from barnabee.core.settings import Settings
from barnabee.gpu import engine_factory
from barnabee.gpu.capabilities import Tasks
from barnabee.gpu.engines.device import Device
from barnabee.gpu.metrics import GpuMetrics
from barnabee.gpu.model_runtime import State
from barnabee.testing.gpu_memory import FakeCard
from support import tdt

GRAPH = system.load(Path(__file__).parents[3] / "system.toml")


def build(graph: system.System = GRAPH, **given: str) -> Tasks:
    return engine_factory.build(graph, Settings(**given), GpuMetrics("gpu"), FakeCard(4096))


async def test_each_task_has_the_model_of_the_graph_that_runs_on_a_cpu(tmp_path: Path) -> None:
    tasks = build(BARNABEE_MODELS=str(tmp_path))
    assert [(task.name, task.first.model) for task in tasks.all()] == [
        ("stt", "whisper-base"),
        ("tts", "kokoro-int8"),
        ("embed", "minilm"),
        ("wake", "openwakeword"),
    ]
    assert tasks.find("whisper") is tasks.find("whisper-1") is tasks.find("whisper-base")
    with pytest.raises(ModelMissing, match=str(tmp_path)):
        await tasks.stt.first.load()


def test_without_a_card_the_ledger_counts_main_memory_and_all_of_it_fits() -> None:
    card, models = engine_factory.tables(GRAPH, Device("cpu"))
    assert card.vram_mib == GRAPH.service["gpu"].memory_max_mib
    assert sum(one.vram_peak_mib for one in models.values()) < card.vram_mib - card.headroom_mib


def test_where_parakeet_has_no_files_whisper_is_the_main_ear() -> None:
    _, models = engine_factory.tables(GRAPH, Device("cpu"))
    assert (models["whisper"].preload, models["whisper"].priority) == (True, 1)


def test_on_a_card_the_table_is_the_declared_one() -> None:
    card, models = engine_factory.tables(GRAPH, Device("cuda"))
    assert card == GRAPH.card
    assert (models["parakeet"].priority, models["whisper"].preload) == (1, False)


def test_on_a_card_each_task_has_the_model_of_the_card() -> None:
    tasks = build(BARNABEE_DEVICE="cuda")
    assert [(task.name, [slot.model for slot in task.slots]) for task in tasks.all()] == [
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
async def test_without_the_libraries_of_a_card_each_engine_says_what_to_install(
    model: str, sentence: str
) -> None:
    slot = build(BARNABEE_DEVICE="cuda").find(model)
    with pytest.raises(Misconfigured, match=sentence):
        await slot.load()
    assert slot.state is State.FAILED


async def test_an_export_of_ones_own_is_loaded_by_the_name_of_its_folder(tmp_path: Path) -> None:
    tdt.write_export(tmp_path / "parakeet-tdt-1.1b", kind="parakeet-1.1b")
    mine = GRAPH.model["parakeet"].model_copy(update={"cpu_files": "parakeet-tdt-1.1b"})
    graph = GRAPH.model_copy(update={"model": {**GRAPH.model, "parakeet": mine}})
    tasks = build(graph, BARNABEE_MODELS=str(tmp_path))
    assert tasks.stt.first.model == "parakeet-tdt-1.1b"
    await tasks.stt.first.load()
    assert tasks.stt.first.check().languages == {"en"}
    await tasks.stt.first.unload()
    assert tasks.stt.first.state is State.ABSENT


def test_a_task_without_a_model_is_refused() -> None:
    models = {name: one for name, one in GRAPH.model.items() if one.task != "tts"}
    with pytest.raises(SystemFileInvalid, match="tts"):
        build(GRAPH.model_copy(update={"model": models}))
