"""Windows of long audio."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from barnabee.audio.samples import SEARCH_S, WINDOW_S, is_silent, split_windows

RATE = 16_000


def noise(seconds: float) -> NDArray[np.float32]:
    count = int(seconds * RATE)
    return np.random.default_rng(0).normal(0, 0.1, count).astype(np.float32)


@pytest.mark.parametrize("seconds", [0.01, 1, WINDOW_S])
def test_short_audio_is_one_window(seconds: float) -> None:
    ((start_s, window),) = split_windows(noise(seconds))
    assert (start_s, len(window)) == (0, int(seconds * RATE))


def test_long_audio_is_split_at_pauses() -> None:
    samples = noise(70)
    for pause_s in (26, 50):
        samples[int(pause_s * RATE) : int((pause_s + 0.3) * RATE)] *= 0.001
    starts = [start_s for start_s, _ in split_windows(samples)]
    assert len(starts) == 3
    assert 26 <= starts[1] <= 26.3
    assert 50 <= starts[2] <= 50.3


@pytest.mark.parametrize("seconds", [31, 65.4321, 299])
def test_windows_cover_every_sample_once_within_the_limits(seconds: float) -> None:
    samples = noise(seconds)
    found = list(split_windows(samples))
    np.testing.assert_array_equal(np.concatenate([window for _, window in found]), samples)
    assert all(len(window) <= WINDOW_S * RATE for _, window in found)
    assert all(len(window) >= (WINDOW_S - SEARCH_S) * RATE for _, window in found[:-1])
    ends = np.cumsum([len(window) for _, window in found]) / RATE
    assert [start_s for start_s, _ in found[1:]] == pytest.approx(ends[:-1])


def test_silence_yields_no_window() -> None:
    assert list(split_windows(np.zeros(0, np.float32))) == []
    assert list(split_windows(np.full(90 * RATE, 5e-5, np.float32))) == []
    late = np.zeros(70 * RATE, np.float32)
    late[65 * RATE :] = noise(5)
    ((start_s, window),) = split_windows(late)
    assert start_s + len(window) / RATE == 70
    assert not is_silent(window)
