from __future__ import annotations

from pathlib import Path

import pytest

from barnabee.core import system
from barnabee.core.errors import ModelMissing, SettingInvalid, SystemFileInvalid
from barnabee.core.settings import Settings
from barnabee.gpu.catalogue import on_cpu
from barnabee.gpu.metrics import GpuMetrics

GRAPH = system.load(Path(__file__).parents[3] / "system.toml")


def settings(**given: str) -> Settings:
    return Settings(**given)


async def test_each_task_has_the_model_of_the_graph_that_runs_on_a_cpu(tmp_path: Path) -> None:
    slots = on_cpu(GRAPH, settings(BARNABEE_MODELS=str(tmp_path)), GpuMetrics("gpu"))
    assert [(slot.task, slot.model) for slot in slots.all()] == [
        ("stt", "whisper-base"),
        ("tts", "kokoro-int8"),
        ("embed", "minilm-int8"),
    ]
    assert {"whisper", "whisper-1"} <= slots.stt.aliases
    assert not await slots.stt.load()
    assert isinstance(slots.stt.error, ModelMissing)
    assert str(tmp_path) in str(slots.stt.error)


def test_a_device_without_engines_is_refused() -> None:
    with pytest.raises(SettingInvalid, match="BARNABEE_DEVICE"):
        on_cpu(GRAPH, settings(BARNABEE_DEVICE="cuda"), GpuMetrics("gpu"))


def test_a_task_without_a_model_is_refused() -> None:
    models = {name: one for name, one in GRAPH.model.items() if one.task != "tts"}
    graph = GRAPH.model_copy(update={"model": models})
    with pytest.raises(SystemFileInvalid, match="tts"):
        on_cpu(graph, settings(), GpuMetrics("gpu"))
