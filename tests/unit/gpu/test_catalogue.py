from __future__ import annotations

from pathlib import Path

import pytest

from barnabee.core import system
from barnabee.core.errors import ModelMissing, SettingInvalid, SystemFileInvalid
from barnabee.core.settings import Settings
from barnabee.gpu import catalogue
from barnabee.gpu.engines.device import Device
from barnabee.gpu.metrics import GpuMetrics
from barnabee.gpu.tasks import Tasks
from barnabee.testing.card import FakeCard

GRAPH = system.load(Path(__file__).parents[3] / "system.toml")


def build(graph: system.System = GRAPH, **given: str) -> Tasks:
    return catalogue.build(graph, Settings(**given), GpuMetrics("gpu"), FakeCard(4096))


async def test_each_task_has_the_model_of_the_graph_that_runs_on_a_cpu(tmp_path: Path) -> None:
    tasks = build(BARNABEE_MODELS=str(tmp_path))
    assert [(task.name, task.first.model) for task in tasks.all()] == [
        ("stt", "whisper-base"),
        ("tts", "kokoro-int8"),
        ("embed", "minilm-int8"),
        ("wake", "openwakeword"),
    ]
    assert tasks.find("whisper") is tasks.find("whisper-1") is tasks.find("whisper-base")
    with pytest.raises(ModelMissing, match=str(tmp_path)):
        await tasks.stt.first.load()


def test_without_a_card_the_ledger_counts_main_memory_and_all_of_it_fits() -> None:
    card, models = catalogue.tables(GRAPH, Device("cpu"))
    assert card.vram_mib == GRAPH.service["gpu"].memory_max_mib
    assert sum(one.vram_peak_mib for one in models.values()) < card.vram_mib - card.headroom_mib


def test_where_parakeet_has_no_files_whisper_is_the_main_ear() -> None:
    _, models = catalogue.tables(GRAPH, Device("cpu"))
    assert (models["whisper"].preload, models["whisper"].priority) == (True, 1)


def test_on_a_card_the_table_is_the_declared_one() -> None:
    card, models = catalogue.tables(GRAPH, Device("cuda"))
    assert card == GRAPH.card
    assert (models["parakeet"].priority, models["whisper"].preload) == (1, False)


def test_a_device_without_engines_is_refused() -> None:
    with pytest.raises(SettingInvalid, match="BARNABEE_DEVICE"):
        build(BARNABEE_DEVICE="cuda")


def test_a_task_without_a_model_is_refused() -> None:
    models = {name: one for name, one in GRAPH.model.items() if one.task != "tts"}
    with pytest.raises(SystemFileInvalid, match="tts"):
        build(GRAPH.model_copy(update={"model": models}))
