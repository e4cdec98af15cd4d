"""How much of its window Whisper is given, and what happens when it trips over that."""

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
class Library:
    """Stands in for faster-whisper: says what `answers` has for the window it was given."""

    answers: dict[int, tuple[str, float, float]]
    supported_languages: tuple[str, ...] = ("en",)
    frames: int = 3000
    asked: list[int] = field(default_factory=list)

    def transcribe(self, samples: Any, **_options: Any) -> tuple[list[Any], None]:
        self.asked.append(self.frames)
        text, compression, probability = self.answers[self.frames]
        segment = SimpleNamespace(
            start=0.0,
            end=len(samples) / RATE,
            text=text,
            compression_ratio=compression,
            avg_logprob=probability,
            no_speech_prob=0.0,
            words=None,
        )
        return [segment], None


def hear(library: Library, seconds: float, *, short: bool = True) -> str:
    sound = np.ones(int(seconds * RATE), np.float32)
    ear = whisper.Whisper(library, short=short)  # type: ignore[arg-type]
    return "".join(one.text for one in ear.transcribe(sound, language="en"))


def test_a_short_sound_is_heard_in_a_short_window() -> None:
    library = Library({1500: ("turn on the light", 1.0, -0.2)})
    assert hear(library, 2) == "turn on the light"
    assert library.asked == [1500]


@pytest.mark.parametrize(("compression", "probability"), [(3.1, -0.2), (1.0, -1.4)])
def test_what_it_doubts_is_heard_again_whole(compression: float, probability: float) -> None:
    library = Library(
        {1500: ("turn turn turn", compression, probability), 3000: ("turn on the light", 1.0, -0.2)}
    )
    assert hear(library, 2) == "turn on the light"
    assert library.asked == [1500, 3000]


def test_what_it_doubts_with_the_whole_window_stays_what_it_is() -> None:
    library = Library({3000: ("mhm mhm mhm", 3.1, -2.0)})
    assert hear(library, 28) == "mhm mhm mhm"
    assert library.asked == [3000]


def test_a_card_is_given_the_whole_window_at_once() -> None:
    library = Library({3000: ("turn on the light", 1.0, -0.2)})
    assert hear(library, 2, short=False) == "turn on the light"
    assert library.asked == [3000]


@given(st.floats(0.01, 3600))
def test_a_window_has_room_for_the_sound_and_some_rest_or_is_whole(duration_s: float) -> None:
    window_s = whisper.window_for(duration_s)
    assert whisper.SHORTEST_S <= window_s <= whisper.WINDOW_S
    assert window_s >= duration_s + whisper.REST_S or window_s == whisper.WINDOW_S
