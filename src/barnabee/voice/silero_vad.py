"""Silero, the voice detector: one for each room that is connected, kept for the next one.

Each has a memory of its own, so rooms cannot share one; but each is an ONNX session of 3 MiB that
takes 40 to 80 ms to load, so none is thrown away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
from pipecat.audio.vad.silero import SileroVADAnalyzer

from barnabee.voice.vad import WINDOW

RATE_HZ = 16_000
Confidence = Callable[[bytes], float]  # of 512 samples at 16 kHz: 0 to 1
QUIET_WINDOWS = 10  # after which a detector has forgotten whom it heard


class Detectors:
    """Detectors for rooms."""

    def __init__(self) -> None:
        """Load one; blocks for a moment."""
        self._free = [_load()]

    @contextmanager
    def one(self) -> Iterator[Confidence]:
        """Lend a detector: 0.2 to 0.4 ms of CPU a window, in the caller's thread."""
        analyzer = self._free.pop() if self._free else _load()

        def confidence(window: bytes) -> float:
            return float(np.ravel(analyzer.voice_confidence(window))[0])

        try:
            yield confidence
        finally:
            for _ in range(QUIET_WINDOWS):
                confidence(bytes(WINDOW * 2))
            self._free.append(analyzer)


def _load() -> SileroVADAnalyzer:
    analyzer = SileroVADAnalyzer(sample_rate=RATE_HZ)
    analyzer.set_sample_rate(RATE_HZ)
    return analyzer
