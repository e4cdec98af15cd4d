"""The Whisper engine: encoder window, second decoding, invented text, language and prompt."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from barnabee.audio import wav
from barnabee.audio.samples import Samples
from barnabee.gpu.engines import whisper

RATE = 16_000
AUDIO = Path(__file__).parents[3] / "audio"
FIND_SPEECH = whisper.find_speech


@dataclass
class FakeWhisperModel:
    """Fake of faster-whisper: returns the result in `answers` for the window it is given."""

    answers: dict[int, tuple[str, float, float]]
    supported_languages: tuple[str, ...] = ("en",)
    frames: int = 3000
    windows: list[int] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)
    no_speech: float = 0.0

    def transcribe(self, samples: Any, **options: Any) -> tuple[list[Any], Any]:
        self.windows.append(self.frames)
        self.options = options
        text, compression, probability = self.answers[self.frames]
        segment = SimpleNamespace(
            start=0.0,
            end=len(samples) / RATE,
            text=text,
            compression_ratio=compression,
            avg_logprob=probability,
            no_speech_prob=self.no_speech,
            words=[SimpleNamespace(start=0.5, end=0.9, word=text, probability=0.9)],
        )
        return [segment], SimpleNamespace(language=options["language"] or "de")


@pytest.fixture(autouse=True)
def _speech_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whisper, "find_speech", lambda samples: [(0.0, len(samples) / RATE)])


def transcribe_text(model: FakeWhisperModel, seconds: float, *, short_windows: bool = True) -> str:
    samples = np.ones(int(seconds * RATE), np.float32)
    engine = whisper.Whisper(model, short_windows=short_windows)
    return "".join(one.text for one in engine.transcribe(samples, language="en"))


def load_sound(path: Path) -> Samples:
    return wav.decode(wav.parse(path.read_bytes(), max_s=60), RATE)


def make_noise(kind: str, seconds: float, level_db: float) -> Samples:
    """Return a noise of a home, reproducible; `level_db` is that of its peak."""
    count = int(seconds * RATE)
    rng, at_s = np.random.default_rng(1), np.arange(count) / RATE
    spectrum = np.fft.rfft(rng.standard_normal(count))
    steepness = {"white": 0.0, "pink": 0.5, "brown": 1.0}.get(kind)
    if steepness is not None:
        sound = np.fft.irfft(spectrum / np.maximum(np.arange(len(spectrum)), 1) ** steepness, count)
    elif kind == "clicks":
        sound = (rng.random(count) < 8 / RATE) + 0.002 * rng.standard_normal(count)
    else:
        beeping = (at_s * 2) % 1 < 0.3 if kind == "beeps" else 1.0
        sound = np.sin(2 * np.pi * {"hum": 50, "tone": 1000, "beeps": 800}[kind] * at_s) * beeping
    return (sound / np.abs(sound).max() * 10 ** (level_db / 20)).astype(np.float32)


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


def test_doubtful_result_of_a_full_window_is_not_decoded_again() -> None:
    model = FakeWhisperModel({3000: ("turn on the light", 1.0, -2.0)})
    assert transcribe_text(model, 28) == "turn on the light"
    assert model.windows == [3000]


def test_repetitions_of_a_full_window_are_invented() -> None:
    model = FakeWhisperModel({3000: ("I'm sorry, " * 20, 3.1, -0.2)})
    assert transcribe_text(model, 28) == ""


@pytest.mark.parametrize(
    ("text", "no_speech", "probability", "is_invented"),
    [
        (" You", 0.7, -0.98, True),
        (" Thank you for watching!", 0.05, -0.9, True),
        (" Thank you.", 0.02, -0.2, False),
        (" Bye-bye.", 0.5, -0.2, True),
        (" Turn it off.", 0.7, -0.9, False),
    ],
)
def test_phantom_sentence_is_invented_if_doubtful(
    text: str, no_speech: float, probability: float, is_invented: bool
) -> None:
    model = FakeWhisperModel(dict.fromkeys((1500, 3000), (text, 1.0, probability)))
    model.no_speech = no_speech
    assert transcribe_text(model, 2) == ("" if is_invented else text)


@pytest.mark.parametrize(
    ("text", "probability", "is_invented"),
    [
        (" light, kitchen light, kitchen", -0.9, True),
        (" Kitchen light.", -0.3, False),
        (" Turn on the kitchen light.", -0.9, False),
    ],
)
def test_doubtful_words_of_the_prompt_alone_are_invented(
    text: str, probability: float, is_invented: bool
) -> None:
    model = FakeWhisperModel(dict.fromkeys((1500, 3000), (text, 1.0, probability)))
    engine = whisper.Whisper(model, short_windows=True)
    found = engine.transcribe(np.ones(RATE, np.float32), language="en", prompt="Kitchen light.")
    assert [one.text for one in found] == ([] if is_invented else [text])


def test_text_outside_of_speech_is_invented(monkeypatch: pytest.MonkeyPatch) -> None:
    model = FakeWhisperModel({1500: ("turn on the light", 1.0, -0.2)})
    monkeypatch.setattr(whisper, "find_speech", lambda _samples: [(5.0, 6.0)])
    assert transcribe_text(model, 2) == ""
    monkeypatch.setattr(whisper, "find_speech", lambda _samples: [])
    model.windows.clear()
    assert transcribe_text(model, 2) == ""
    assert not model.windows, "without speech nothing is decoded"


@pytest.mark.parametrize("kind", ["white", "pink", "brown", "hum", "tone", "beeps", "clicks"])
@pytest.mark.parametrize(("seconds", "level_db"), [(0.5, -10), (1.0, -35), (4.0, -20), (1.0, -60)])
def test_noise_is_no_speech(kind: str, seconds: float, level_db: float) -> None:
    assert FIND_SPEECH(make_noise(kind, seconds, level_db)) == []


@pytest.mark.parametrize("path", sorted(AUDIO.rglob("*.wav")), ids=lambda path: path.stem)
@pytest.mark.parametrize("level_db", [0, -30])
def test_speech_is_found_also_when_it_is_quiet(path: Path, level_db: float) -> None:
    sound = load_sound(path) * np.float32(10 ** (level_db / 20))
    found = FIND_SPEECH(sound)
    assert sum(end_s - start_s for start_s, end_s in found) > 0.5 * len(sound) / RATE


def test_prompt_and_language_reach_the_model() -> None:
    model = FakeWhisperModel({1500: ("turn on the light", 1.0, -0.2)})
    engine = whisper.Whisper(model, short_windows=True)
    samples = np.ones(RATE, np.float32)
    (segment,) = engine.transcribe(samples, language=None, prompt="hall light")
    assert (model.options["language"], model.options["hotwords"]) == (None, "hall light")
    assert segment.language == "de", "the detected one"
    list(engine.transcribe(samples, language="en"))
    assert model.options["hotwords"] is None


def test_tokens_leave_room_for_a_prompt() -> None:
    model = FakeWhisperModel({3000: ("turn on the light", 1.0, -0.2)})
    engine = whisper.Whisper(model, short_windows=True)
    list(engine.transcribe(np.ones(60 * RATE, np.float32), language="en", prompt="hall light"))
    assert model.options["max_new_tokens"] + 224 < 448
    transcribe_text(model, 60)
    assert model.options["max_new_tokens"] == 324


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
