"""One loudness for all speech."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pyloudnorm
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from barnabee.audio.loudness import (
    GAIN_MAX_DB,
    PEAK_DB,
    STEP_MAX_DB,
    TARGET_LUFS,
    even,
    loudness,
    true_peak,
)

RATE = 24_000


def tone(seconds: float, level_db: float, hz: float = 997) -> NDArray[np.float32]:
    times = np.arange(int(seconds * RATE)) / RATE
    return (10 ** (level_db / 20) * np.sin(2 * np.pi * hz * times)).astype(np.float32)


def voice(seconds: float, level_db: float, seed: int = 0) -> NDArray[np.float32]:
    """Syllables of noise: loud and soft, as speech is."""
    count = int(seconds * RATE)
    shape = np.abs(np.sin(np.pi * 4 * np.arange(count) / RATE))
    hiss = np.random.default_rng(seed).normal(0, 10 ** (level_db / 20), count)
    return np.clip(hiss * shape, -1, 1).astype(np.float32)


def gains(before: list[NDArray], after: list[NDArray]) -> list[float]:
    pairs = zip(before, after, strict=True)
    return [20 * np.log10(np.abs(b).max() / np.abs(a).max()) for a, b in pairs]


def test_a_tone_is_as_loud_as_the_standard_says() -> None:
    # BS.1770: a 997 Hz sine at full scale in one channel is -3.01 LKFS
    assert loudness(tone(3, 0), RATE) == pytest.approx(-3.01, abs=0.1)
    assert loudness(tone(3, -20), RATE) == pytest.approx(-23.01, abs=0.1)


@pytest.mark.parametrize("level_db", [-45, -30, -26, -20, -14])
def test_whatever_came_it_goes_out_at_the_target(level_db: float) -> None:
    given_phrases = [voice(1.5, level_db, seed) for seed in range(3)]
    found = [loudness(one, RATE) for one in even(given_phrases, RATE)]
    far = abs(TARGET_LUFS - loudness(given_phrases[0], RATE))
    if far < GAIN_MAX_DB:
        assert found == pytest.approx([TARGET_LUFS] * 3, abs=0.1)
    else:  # what is that far from speech is moved by the most that is allowed
        assert gains(given_phrases, list(even(given_phrases, RATE))) == pytest.approx(
            [GAIN_MAX_DB] * 3, abs=0.01
        )


def test_pauses_after_a_phrase_do_not_count() -> None:
    sound = voice(1.5, -26)
    with_pause = np.concatenate([sound, np.zeros(RATE // 4, np.float32)])
    assert loudness(with_pause, RATE) == pytest.approx(loudness(sound, RATE), abs=0.01)


@pytest.mark.parametrize("seconds", [0.06, 0.1, 0.25, 0.39])
def test_a_phrase_shorter_than_the_standard_measures_is_levelled_too(seconds: float) -> None:
    with pytest.raises(ValueError, match="greater than the block size"):
        pyloudnorm.Meter(RATE).integrated_loudness(tone(seconds, -26))
    (levelled,) = even([tone(seconds, -26)], RATE)
    (long,) = even([tone(2, -26)], RATE)
    assert np.abs(levelled).max() == pytest.approx(np.abs(long).max(), rel=0.12)


@pytest.mark.parametrize("count", [0, 1, 100])
def test_a_click_is_left_as_it_is(count: int) -> None:
    click = np.full(count, 0.5, np.float32)
    (found,) = even([click], RATE)
    np.testing.assert_array_equal(found, click)


def test_silence_stays_silence_and_changes_nothing_after_it() -> None:
    silence = np.zeros(RATE, np.float32)
    found = list(even([silence, voice(1, -26), silence], RATE))
    assert not found[0].any()
    assert not found[2].any()
    assert loudness(found[1], RATE) == pytest.approx(TARGET_LUFS, abs=0.1)


def test_a_sharp_peak_keeps_a_phrase_softer_and_never_clips() -> None:
    sound = voice(2, -32)
    sound[RATE : RATE + 3] = 0.7  # a peak 20 dB above the rest
    (found,) = even([sound], RATE)
    assert true_peak(found) <= PEAK_DB + 0.01
    assert loudness(found, RATE) < TARGET_LUFS


def test_the_peak_between_the_samples_counts() -> None:
    # a quarter of the rate, 45 degrees off: every sample is 3 dB below the true peak
    times = np.arange(RATE)
    sound = (0.5 * np.sin(np.pi / 2 * times + np.pi / 4)).astype(np.float32)
    assert 20 * np.log10(np.abs(sound).max()) == pytest.approx(-9.03, abs=0.01)
    assert true_peak(sound[100:-100]) == pytest.approx(-6.02, abs=0.5)


def test_the_gain_moves_in_small_steps_within_an_answer() -> None:
    phrases = [voice(1, -21), voice(1, -30), voice(1, -30, 1), voice(1, -30, 2)]
    steps = gains(phrases, list(even(phrases, RATE)))
    assert steps[1] - steps[0] == pytest.approx(STEP_MAX_DB, abs=0.01)
    assert all(abs(b - a) <= STEP_MAX_DB + 0.01 for a, b in pairwise(steps))
    assert steps[3] > steps[1]


def test_phrases_come_one_by_one() -> None:
    made: list[int] = []

    def speak():  # noqa: ANN202
        for number in range(3):
            made.append(number)
            yield voice(0.6, -26)

    sounds = even(speak(), RATE)
    for number in range(3):
        next(sounds)
        assert made == list(range(number + 1))


def test_the_same_answer_sounds_the_same_twice() -> None:
    phrases = [voice(0.8, -20), voice(0.8, -28)]
    for first, again in zip(even(phrases, RATE), even(phrases, RATE), strict=True):
        np.testing.assert_array_equal(first, again)


levels = st.tuples(st.floats(0.0, 0.9), st.floats(-60, 0), st.integers(0, 9))


@settings(max_examples=60, deadline=None)
@given(st.lists(levels, min_size=1, max_size=4))
def test_nothing_ever_clips_or_changes_its_length(rows: list[tuple[float, float, int]]) -> None:
    phrases = [voice(*row) for row in rows]
    for before, after in zip(phrases, even(phrases, RATE), strict=True):
        assert (after.shape, after.dtype) == (before.shape, np.float32)
        assert np.isfinite(after).all()
        loudest = max(PEAK_DB, true_peak(before) if len(before) < RATE // 19 else -np.inf)
        assert true_peak(after) <= loudest + 0.01
