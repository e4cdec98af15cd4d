"""Splits long audio into windows at its quietest moments and skips silence. Pure."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from barnabee.audio.samples import STT_RATE_HZ, Samples

# Attention memory grows with the square of the length; a limit keeps GPU memory independent of the
# request. 30 s is longer than any spoken command.
WINDOW_S = 30
SEARCH_S = 10  # the split is at the quietest frame of a window's last seconds
FRAME_S = 0.1
SILENCE_PEAK = 1e-4  # -80 dBFS; recognisers invent words for anything quieter


def split_windows(samples: Samples) -> Iterator[tuple[float, Samples]]:
    """Yield (start in s, samples) of each window of 16 kHz audio that is not silent."""
    start, max_length = 0, WINDOW_S * STT_RATE_HZ
    while start < len(samples):
        end = len(samples)
        if end - start > max_length:
            end = start + _find_quietest(samples[start : start + max_length])
        window = samples[start:end]
        if not is_silent(window):
            yield start / STT_RATE_HZ, window
        start = end


def is_silent(samples: Samples) -> bool:
    return not samples.size or float(np.abs(samples).max()) < SILENCE_PEAK


def _find_quietest(window: Samples) -> int:
    """Return the middle of the quietest frame in the last SEARCH_S of a full window."""
    length = int(FRAME_S * STT_RATE_HZ)
    begin = len(window) - SEARCH_S * STT_RATE_HZ
    frames = window[begin:].reshape(-1, length)
    quietest = int(np.argmin(np.square(frames, dtype=np.float64).sum(axis=1)))
    return begin + quietest * length + length // 2
