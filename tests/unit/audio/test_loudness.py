"""Loudness normalisation of synthesized phrases."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pyloudnorm
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from barnabee.audio.samples import (
    MAX_GAIN_DB,
    MAX_GAIN_STEP_DB,
    PEAK_DB,
    TARGET_LUFS,
    measure_loudness,
    measure_true_peak,
    normalise_loudness,
)

RATE = 24_000


def tone(seconds: float, level_db: float, hz: float = 997) -> NDArray[np.float32]:
    times = np.arange(int(seconds * RATE)) / RATE
    return (10 ** (level_db / 20) * np.sin(2 * np.pi * hz * times)).astype(np.float32)


def make_speech(seconds: float, level_db: float, seed: int = 0) -> NDArray[np.float32]:
    """Return noise with the amplitude pattern of syllables."""
    count = int(seconds * RATE)
    shape = np.abs(np.sin(np.pi * 4 * np.arange(count) / RATE))
    hiss = np.random.default_rng(seed).normal(0, 10 ** (level_db / 20), count)
    return np.clip(hiss * shape, -1, 1).astype(np.float32)


def gains(before: list[NDArray], after: list[NDArray]) -> list[float]:
    pairs = zip(before, after, strict=True)
    return [20 * np.log10(np.abs(b).max() / np.abs(a).max()) for a, b in pairs]


def test_tone_has_the_loudness_of_the_standard() -> None:
    # BS.1770: a 997 Hz sine at full scale in one channel is -3.01 LKFS
    assert measure_loudness(tone(3, 0), RATE) == pytest.approx(-3.01, abs=0.1)
    assert measure_loudness(tone(3, -20), RATE) == pytest.approx(-23.01, abs=0.1)


@pytest.mark.parametrize("level_db", [-45, -30, -26, -20, -14])
def test_output_is_at_the_target_loudness(level_db: float) -> None:
    given_phrases = [make_speech(1.5, level_db, seed) for seed in range(3)]
    found = [measure_loudness(one, RATE) for one in normalise_loudness(given_phrases, RATE)]
    far = abs(TARGET_LUFS - measure_loudness(given_phrases[0], RATE))
    if far < MAX_GAIN_DB:
        assert found == pytest.approx([TARGET_LUFS] * 3, abs=0.1)
    else:  # too far from the target: the gain is limited
        assert gains(given_phrases, list(normalise_loudness(given_phrases, RATE))) == pytest.approx(
            [MAX_GAIN_DB] * 3, abs=0.01
        )


def test_trailing_silence_is_not_measured() -> None:
    sound = make_speech(1.5, -26)
    with_pause = np.concatenate([sound, np.zeros(RATE // 4, np.float32)])
    assert measure_loudness(with_pause, RATE) == pytest.approx(
        measure_loudness(sound, RATE), abs=0.01
    )


@pytest.mark.parametrize("seconds", [0.06, 0.1, 0.25, 0.39])
def test_phrase_shorter_than_a_block_is_normalised(seconds: float) -> None:
    with pytest.raises(ValueError, match="greater than the block size"):
        pyloudnorm.Meter(RATE).integrated_loudness(tone(seconds, -26))
    (levelled,) = normalise_loudness([tone(seconds, -26)], RATE)
    (long,) = normalise_loudness([tone(2, -26)], RATE)
    assert np.abs(levelled).max() == pytest.approx(np.abs(long).max(), rel=0.12)


@pytest.mark.parametrize("count", [0, 1, 100])
def test_click_is_unchanged(count: int) -> None:
    click = np.full(count, 0.5, np.float32)
    (found,) = normalise_loudness([click], RATE)
    np.testing.assert_array_equal(found, click)


def test_silence_is_unchanged_and_does_not_affect_the_next_phrase() -> None:
    silence = np.zeros(RATE, np.float32)
    found = list(normalise_loudness([silence, make_speech(1, -26), silence], RATE))
    assert not found[0].any()
    assert not found[2].any()
    assert measure_loudness(found[1], RATE) == pytest.approx(TARGET_LUFS, abs=0.1)


def test_high_peak_limits_the_gain() -> None:
    sound = make_speech(2, -32)
    sound[RATE : RATE + 3] = 0.7  # a peak 20 dB above the rest
    (found,) = normalise_loudness([sound], RATE)
    assert measure_true_peak(found) <= PEAK_DB + 0.01
    assert measure_loudness(found, RATE) < TARGET_LUFS


def test_true_peak_between_samples_is_measured() -> None:
    # a quarter of the rate, 45 degrees off: every sample is 3 dB below the true peak
    times = np.arange(RATE)
    sound = (0.5 * np.sin(np.pi / 2 * times + np.pi / 4)).astype(np.float32)
    assert 20 * np.log10(np.abs(sound).max()) == pytest.approx(-9.03, abs=0.01)
    assert measure_true_peak(sound[100:-100]) == pytest.approx(-6.02, abs=0.5)


def test_gain_changes_in_small_steps_within_a_reply() -> None:
    phrases = [
        make_speech(1, -21),
        make_speech(1, -30),
        make_speech(1, -30, 1),
        make_speech(1, -30, 2),
    ]
    steps = gains(phrases, list(normalise_loudness(phrases, RATE)))
    assert steps[1] - steps[0] == pytest.approx(MAX_GAIN_STEP_DB, abs=0.01)
    assert all(abs(b - a) <= MAX_GAIN_STEP_DB + 0.01 for a, b in pairwise(steps))
    assert steps[3] > steps[1]


def test_phrases_are_yielded_one_by_one() -> None:
    made: list[int] = []

    def speak():  # noqa: ANN202
        for number in range(3):
            made.append(number)
            yield make_speech(0.6, -26)

    sounds = normalise_loudness(speak(), RATE)
    for number in range(3):
        next(sounds)
        assert made == list(range(number + 1))


def test_same_reply_has_the_same_loudness_twice() -> None:
    phrases = [make_speech(0.8, -20), make_speech(0.8, -28)]
    for first, again in zip(
        normalise_loudness(phrases, RATE), normalise_loudness(phrases, RATE), strict=True
    ):
        np.testing.assert_array_equal(first, again)


levels = st.tuples(st.floats(0.0, 0.9), st.floats(-60, 0), st.integers(0, 9))


@settings(max_examples=60)
@given(st.lists(levels, min_size=1, max_size=4))
def test_output_never_clips_or_changes_length(rows: list[tuple[float, float, int]]) -> None:
    phrases = [make_speech(*row) for row in rows]
    for before, after in zip(phrases, normalise_loudness(phrases, RATE), strict=True):
        assert (after.shape, after.dtype) == (before.shape, np.float32)
        assert np.isfinite(after).all()
        loudest = max(PEAK_DB, measure_true_peak(before) if len(before) < RATE // 19 else -np.inf)
        assert measure_true_peak(after) <= loudest + 0.01
