from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barnabee.clients.probe_assertions import level_dbfs, speech_problem, word_errors
from support.voice_path import RATE_HZ, tone

TEXT = "It's five o'clock."


@pytest.mark.parametrize(
    ("heard", "said", "expected"),
    [
        ("What time is it?", "what time is it", 0.0),
        (" what TIME is it. ", "What time is it?", 0.0),
        ("what time is", "what time is it", 0.25),
        ("what dime is it", "what time is it", 0.25),
        ("so what time is it", "what time is it", 0.25),
        ("turn on the light", "what time is it", 1.0),
        ("", "what time is it", 1.0),
    ],
)
def test_words_are_compared_and_nothing_else(heard: str, said: str, expected: float) -> None:
    assert word_errors(heard, said) == expected


@given(st.text(max_size=40), st.text(max_size=40))
def test_the_share_of_errors_is_never_negative_and_zero_for_the_same(one: str, two: str) -> None:
    assert word_errors(one, two) >= 0
    assert word_errors(one, one) == 0


def test_the_level_is_that_of_the_tone() -> None:
    assert level_dbfs(tone(0.5, level=0.5)) == pytest.approx(-9.2, abs=0.2)
    assert level_dbfs(bytes(1000)) == -math.inf
    assert level_dbfs(b"") == -math.inf


@pytest.mark.parametrize(
    ("pcm", "code"),
    [
        (tone(1.2), None),
        (b"", "speech_length"),
        (tone(0.1), "speech_length"),
        (bytes(RATE_HZ * 2 * 11), "speech_length"),
        (bytes(RATE_HZ * 2), "speech_silent"),
        (tone(1.2, level=0.0005), "speech_silent"),
    ],
)
def test_speech_that_cannot_be_the_text_is_told_by_a_code(pcm: bytes, code: str | None) -> None:
    problem = speech_problem(pcm, RATE_HZ, TEXT)

    assert (problem and problem[0]) == code
