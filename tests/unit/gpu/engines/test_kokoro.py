"""Kokoro engine on torch, with a small random network (support/kokoro_network.py)."""

from __future__ import annotations

import hashlib
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from barnabee.core.errors import Misconfigured
from barnabee.core.schema import VoiceConfig
from barnabee.gpu.engines.base import Device
from barnabee.gpu.engines.kokoro import KokoroTorch, TorchSession, read_voices
from barnabee.up import model_pins
from support import kokoro_network

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
