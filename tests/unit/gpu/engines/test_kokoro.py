"""Steps of Kokoro with espeak-ng and a fake network, and its engine on torch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kokoro_onnx.tokenizer import Tokenizer

from barnabee.audio.samples import Samples
from barnabee.core.errors import Misconfigured
from barnabee.core.schema import VoiceConfig
from barnabee.gpu.engines.base import Device
from barnabee.gpu.engines.kokoro import (
    HEAD_S,
    SAMPLE_RATE_HZ,
    KokoroSpeaker,
    KokoroTorch,
    TorchSession,
    fit_pause,
    read_voices,
)
from barnabee.gpu.phrases import HARD_MAX_PHONEMES, MAX_PHONEMES
from barnabee.up import model_pins
from support import kokoro_network

VOICE = VoiceConfig(
    name="barnabee", sample_rate_hz=24_000, speed_percent=100, blend=kokoro_network.BLEND
)


EY = "\u02c8e\u026a"  # the name of the letter A
NUMBERS = ", ".join(map(str, range(1, 101)))
SCRIPTS = [
    "日本語",
    "Привет",
    "مرحبا",
    "ʰ",
    "\u200b",
    "\ud7ff",
    "ﬁ",
    "😀",
    "Ω",
    "ñ",
    "e\u0301",
    "A B C",
]
WORDS = ["five", "Emma", "twenty-one", "BBC", "and", "the", ",", ".", "!", "[pause:1s]", "1234567"]


@cache
def make_tokenizer() -> Tokenizer:
    return Tokenizer()


class FakeNetwork:
    """Kokoro with real phonemes, whose sound is 10 samples a phoneme."""

    def __init__(self) -> None:
        self.tokenizer = make_tokenizer()
        self.steps: list[str] = []

    def get_voices(self) -> list[str]:
        return sorted(kokoro_network.BLEND)

    def get_voice_style(self, name: str) -> Any:
        return np.zeros((510, 1, 256), np.float32)

    def create(self, phonemes: str, *_: object, is_phonemes: bool) -> tuple[Samples, int]:
        assert self.tokenizer.tokenize(phonemes), phonemes
        self.steps.append(phonemes)
        return np.full(10 * len(phonemes), 0.1, np.float32), SAMPLE_RATE_HZ


def speak(network: FakeNetwork, text: str, speed: float = 1.0) -> Iterator[Samples]:
    return KokoroSpeaker(network, VOICE).speak(text, voice="barnabee", speed=speed)  # type: ignore[arg-type]


def test_a_list_of_numbers_is_spoken_in_small_steps() -> None:
    network = FakeNetwork()
    assert len(list(speak(network, NUMBERS))) == len(network.steps) > 8
    assert max(map(len, network.steps)) <= MAX_PHONEMES


def test_slow_speech_has_shorter_steps() -> None:
    normal, slow = FakeNetwork(), FakeNetwork()
    list(speak(normal, NUMBERS))
    list(speak(slow, NUMBERS, speed=0.5))
    assert max(map(len, slow.steps)) <= MAX_PHONEMES / 2
    assert len(slow.steps) > 1.5 * len(normal.steps)


def test_the_letter_a_is_not_read_as_the_article() -> None:
    network = FakeNetwork()
    list(speak(network, "Seven A M. A C. A dog."))
    assert [phonemes.startswith(EY) for phonemes in network.steps] == [False, True, False]
    assert f"{EY} \u02c8\u025bm" in network.steps[0]


@pytest.mark.parametrize("text", ["日本語", "😀", "ʰ", "?!", "مرحبا."])
def test_what_cannot_be_pronounced_is_left_out(text: str) -> None:
    network = FakeNetwork()
    assert list(speak(network, text)) == []
    list(speak(network, f"Hello {text} there."))
    assert len(network.steps) == 1


def test_a_pause_is_silence() -> None:
    *_, silence, word = speak(FakeNetwork(), "[pause:1s] Go.")
    assert (len(silence), silence.any()) == (SAMPLE_RATE_HZ, False)
    assert word.any()
    first, _ = speak(FakeNetwork(), "Wait [pause:2s] now.")
    assert len(first) > 2 * SAMPLE_RATE_HZ


@settings(deadline=None, max_examples=40)
@given(
    text=st.lists(st.sampled_from([*WORDS, *SCRIPTS]) | st.text(max_size=20), max_size=120).map(
        " ".join
    )
    | st.text(max_size=4096),
    speed=st.sampled_from([0.5, 1.0, 2.0]),
)
def test_any_text_is_spoken_in_small_steps(text: str, speed: float) -> None:
    text = text[:4096].replace("\0", "")
    network = FakeNetwork()
    for samples in speak(network, text, speed):
        assert np.isfinite(samples).all()
    assert all(len(step) <= HARD_MAX_PHONEMES for step in network.steps)


@pytest.mark.parametrize("text", ["a" * 4096, "日" * 4096, "9" * 4096, "(" * 4096, "x. " * 1365])
def test_extreme_texts_are_spoken_in_small_steps(text: str) -> None:
    network = FakeNetwork()
    list(speak(network, text))
    assert all(len(step) <= HARD_MAX_PHONEMES for step in network.steps)


@pytest.mark.parametrize("tail_s", [0.0, 0.05, 0.5])
def test_quiet_between_two_phrases_is_as_long_as_the_pause(tail_s: float) -> None:
    tone = np.full(SAMPLE_RATE_HZ // 10, 0.5, np.float32)
    quiet = np.full(int(tail_s * SAMPLE_RATE_HZ), 0.001, np.float32)
    fitted = fit_pause(np.concatenate([quiet, tone, quiet]), 0.12)
    loud = np.flatnonzero(np.abs(fitted) > 0.1)
    assert loud[0] <= HEAD_S * SAMPLE_RATE_HZ
    assert len(fitted) - loud[-1] - 1 == int(0.12 * SAMPLE_RATE_HZ)


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
