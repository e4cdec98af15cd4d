"""Cutting long sounds."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from barnabee.gpu.engines.windows import SEARCH_S, WINDOW_S, silent, windows

RATE = 16_000


def noise(seconds: float) -> NDArray[np.float32]:
    count = int(seconds * RATE)
    return np.random.default_rng(0).normal(0, 0.1, count).astype(np.float32)


@pytest.mark.parametrize("seconds", [0.01, 1, WINDOW_S])
def test_what_fits_is_one_window(seconds: float) -> None:
    ((start_s, window),) = windows(noise(seconds))
    assert (start_s, len(window)) == (0, int(seconds * RATE))


def test_a_long_sound_is_cut_in_its_pauses() -> None:
    sound = noise(70)
    for pause_s in (26, 50):
        sound[int(pause_s * RATE) : int((pause_s + 0.3) * RATE)] *= 0.001
    starts = [start_s for start_s, _ in windows(sound)]
    assert len(starts) == 3
    assert 26 <= starts[1] <= 26.3
    assert 50 <= starts[2] <= 50.3


@pytest.mark.parametrize("seconds", [31, 65.4321, 299])
def test_no_sample_is_lost_or_heard_twice_and_no_window_is_too_long(seconds: float) -> None:
    sound = noise(seconds)
    found = list(windows(sound))
    np.testing.assert_array_equal(np.concatenate([window for _, window in found]), sound)
    assert all(len(window) <= WINDOW_S * RATE for _, window in found)
    assert all(len(window) >= (WINDOW_S - SEARCH_S) * RATE for _, window in found[:-1])
    ends = np.cumsum([len(window) for _, window in found]) / RATE
    assert [start_s for start_s, _ in found[1:]] == pytest.approx(ends[:-1])


def test_silence_gives_no_window() -> None:
    assert list(windows(np.zeros(0, np.float32))) == []
    assert list(windows(np.full(90 * RATE, 5e-5, np.float32))) == []
    late = np.zeros(70 * RATE, np.float32)
    late[65 * RATE :] = noise(5)
    ((start_s, window),) = windows(late)
    assert start_s + len(window) / RATE == 70
    assert not silent(window)
