"""Kokoro engine on torch, with a small random network (support/kokoro_network.py)."""

from __future__ import annotations

import hashlib
import json
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from barnabee.core import manifest
from barnabee.core.errors import Misconfigured
from barnabee.core.schema import VoiceConfig
from barnabee.gpu.engines.device import Device
from barnabee.gpu.engines.kokoro_torch import KokoroTorch, TorchSession, read_voices
from barnabee.gpu.phrases import split_phrases
from barnabee.up import model_pins
from support import kokoro_network
from support.torch_env import run_in_torch

VOICE = VoiceConfig(
    name="barnabee", sample_rate_hz=24_000, speed_percent=100, blend=kokoro_network.BLEND
)


def test_vocabulary_equals_that_of_the_pinned_model() -> None:
    # kokoro-onnx carries the real config.json, byte for byte; it is the one that is pinned
    carried = (files("kokoro_onnx") / "config.json").read_bytes()
    pin = model_pins.load_pins().model["kokoro-v1.0"].file["config.json"]
    assert (hashlib.sha256(carried).hexdigest(), len(carried)) == (pin.sha256, pin.size)


def test_missing_torch_error_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=r"needs torch .*install the extra `gpu`"):
        KokoroTorch.load(tmp_path, VOICE, device=Device("cuda"))


def test_voices_are_read_from_the_archive(tmp_path: Path) -> None:
    table = np.ones((510, 1, 256), np.float32)
    np.savez(tmp_path / "voices.npz", am_michael=table)
    assert list(read_voices(tmp_path)) == ["am_michael"]
    with pytest.raises(Misconfigured, match="has no voices"):
        read_voices(tmp_path / "nothing")


def test_session_adapter_describes_its_inputs_and_outputs() -> None:
    session = TorchSession(None, None, "here.pth")
    assert [one.name for one in session.get_inputs()] == ["input_ids", "style", "speed"]
    assert [one.name for one in session.get_outputs()] == ["audio"]
    assert session.get_modelmeta().custom_metadata_map == {}


@pytest.mark.long
@pytest.mark.timeout(900)
def test_torch_engine_synthesizes_like_the_onnx_engine(tmp_path: Path) -> None:
    folder = tmp_path / "kokoro-v1.0"
    run_in_torch("support.kokoro_network", "make", str(folder))
    assert set(manifest.read_manifest(folder)) >= {
        "config.json",
        "kokoro-v1_0.pth",
        "voices/bm_george.pt",
    }
    found = json.loads(run_in_torch("support.kokoro_network", "try", str(folder)).splitlines()[-1])
    print(found)
    assert found["voices"] == ["barnabee", "af_heart", "am_michael", "bm_george"]
    assert (found["rate"], found["kinds"], found["finite"]) == (24_000, ["float32"], True)
    assert found["blend_off"] == 0
    assert found["vocabulary"]
    assert found["tokens"] == _read_here(kokoro_network.TEXT)
    # a phrase is out before the next is computed
    assert len(found["seconds"]) == len(split_phrases(kokoro_network.TEXT)) == 2
    assert found["runs_before_each"] == [1, 2]
    assert found["loud"] > 0.01
    for slow_s, fast_s in zip(found["seconds"], found["fast_seconds"], strict=True):
        assert fast_s == pytest.approx(slow_s / 2, rel=0.15)
    # 510 phonemes and two ends are what the network takes at once
    assert len(found["long_runs"]) > 1
    assert max(found["long_runs"]) <= 512
    leak = found["leak"]
    assert leak["closed"] < leak["loaded"] - 190  # the weights are 187 MiB
    assert leak["again"] < leak["closed"] + 60


def _read_here(text: str) -> list[int]:
    from kokoro_onnx.tokenizer import Tokenizer  # noqa: PLC0415 - heavy

    reader = Tokenizer()
    return list(reader.tokenize(reader.phonemize(text, "en-us")))
