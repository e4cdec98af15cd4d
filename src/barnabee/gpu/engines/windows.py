"""Cuts a long sound into windows at its quietest moments, and leaves out what is silent. Pure."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from barnabee.gpu.engines.protocols import STT_RATE_HZ, Samples

# Attention takes memory with the square of the length; Parakeet reads minutes, but what it takes
# on the card must not depend on what somebody sends. 30 s is longer than anything said to a house.
WINDOW_S = 30
SEARCH_S = 10  # the cut lies at the quietest moment of a window's last seconds
MOMENT_S = 0.1
# Below this peak there is nothing to hear (-80 dBFS), and recognisers invent words for silence.
SILENCE_PEAK = 1e-4


def windows(samples: Samples) -> Iterator[tuple[float, Samples]]:
    """Yield (start in s, samples) of every window of a 16 kHz sound in which there is something."""
    start, longest = 0, WINDOW_S * STT_RATE_HZ
    while start < len(samples):
        end = len(samples)
        if end - start > longest:
            end = start + _quietest(samples[start : start + longest])
        window = samples[start:end]
        if not silent(window):
            yield start / STT_RATE_HZ, window
        start = end


def silent(samples: Samples) -> bool:
    """Return whether there is nothing to hear."""
    return not samples.size or float(np.abs(samples).max()) < SILENCE_PEAK


def _quietest(window: Samples) -> int:
    """Return the middle of the quietest moment of the last SEARCH_S of a whole window."""
    moment = int(MOMENT_S * STT_RATE_HZ)
    begin = len(window) - SEARCH_S * STT_RATE_HZ
    moments = window[begin:].reshape(-1, moment)
    quietest = int(np.argmin(np.square(moments, dtype=np.float64).sum(axis=1)))
    return begin + quietest * moment + moment // 2
