"""Encoder window of the Whisper engine, and the second decoding of doubtful results."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from barnabee.gpu.engines import whisper

RATE = 16_000


@dataclass
class FakeWhisperModel:
    """Fake of faster-whisper: returns the result in `answers` for the window it is given."""

    answers: dict[int, tuple[str, float, float]]
    supported_languages: tuple[str, ...] = ("en",)
    frames: int = 3000
    windows: list[int] = field(default_factory=list)

    def transcribe(self, samples: Any, **_options: Any) -> tuple[list[Any], None]:
        self.windows.append(self.frames)
        text, compression, probability = self.answers[self.frames]
        segment = SimpleNamespace(
            start=0.0,
            end=len(samples) / RATE,
            text=text,
            compression_ratio=compression,
            avg_logprob=probability,
            no_speech_prob=0.0,
            words=[SimpleNamespace(start=0.5, end=0.9, word=text, probability=0.9)],
        )
        return [segment], None


def transcribe_text(model: FakeWhisperModel, seconds: float, *, short_windows: bool = True) -> str:
    samples = np.ones(int(seconds * RATE), np.float32)
    engine = whisper.Whisper(model, short_windows=short_windows)
    return "".join(one.text for one in engine.transcribe(samples, language="en"))


def test_short_audio_gets_a_short_window() -> None:
    model = FakeWhisperModel({1500: ("turn on the light", 1.0, -0.2)})
    assert transcribe_text(model, 2) == "turn on the light"
    assert model.windows == [1500]


@pytest.mark.parametrize(("compression", "probability"), [(3.1, -0.2), (1.0, -1.4)])
def test_doubtful_result_is_decoded_again_with_the_full_window(
    compression: float, probability: float
) -> None:
    model = FakeWhisperModel(
        {1500: ("turn turn turn", compression, probability), 3000: ("turn on the light", 1.0, -0.2)}
    )
    assert transcribe_text(model, 2) == "turn on the light"
    assert model.windows == [1500, 3000]


def test_doubtful_result_of_a_full_window_is_final() -> None:
    model = FakeWhisperModel({3000: ("mhm mhm mhm", 3.1, -2.0)})
    assert transcribe_text(model, 28) == "mhm mhm mhm"
    assert model.windows == [3000]


def test_gpu_uses_the_full_window() -> None:
    model = FakeWhisperModel({3000: ("turn on the light", 1.0, -0.2)})
    assert transcribe_text(model, 2, short_windows=False) == "turn on the light"
    assert model.windows == [3000]


@pytest.mark.parametrize(
    ("seconds", "end_s", "word"), [(2, 2.0, (0.0, 0.3)), (28, 28.0, (0.5, 0.9))]
)
def test_times_are_those_of_the_audio(
    seconds: float, end_s: float, word: tuple[float, float]
) -> None:
    model = FakeWhisperModel(dict.fromkeys((1500, 3000), ("light", 1.0, -0.2)))
    samples = np.ones(int(seconds * RATE), np.float32)
    (segment,) = whisper.Whisper(model, short_windows=True).transcribe(samples, language="en")
    assert (segment.start_s, segment.end_s) == (0.0, pytest.approx(end_s))
    assert (segment.words[0].start_s, segment.words[0].end_s) == pytest.approx(word)


@given(st.floats(0.01, 3600))
def test_window_covers_audio_and_padding_or_is_full(duration_s: float) -> None:
    window_s = whisper.choose_window_s(duration_s)
    assert whisper.MIN_WINDOW_S <= window_s <= whisper.WINDOW_S
    assert window_s >= duration_s + whisper.PADDING_S or window_s == whisper.WINDOW_S
