"""What to hear where a packet was lost: the last sound once more, fading. Pure.

Left out, 20 ms of a word would be cut and its halves joined, and speech to text stumbles over the
seam more than over a short smear.
"""

from __future__ import annotations

import numpy as np

TICKS_PER_SAMPLE = 3  # of WebRTC's 48 kHz clock, at 16 kHz
LONGEST = 1600  # samples: what is missing for more than 100 ms is a pause of the microphone


class Gaps:
    """Follows the clock of one microphone's packets."""

    def __init__(self) -> None:
        """Begin without a packet."""
        self._next: int | None = None
        self._last = b""

    def filled(self, pcm: bytes, ticks: int | None) -> bytes:
        """Return sound (int16, 16 kHz) with what is missing before it; `ticks` is its time."""
        if ticks is None or not pcm:
            return pcm
        missing = 0 if self._next is None else (ticks - self._next) // TICKS_PER_SAMPLE
        self._next = ticks + len(pcm) // 2 * TICKS_PER_SAMPLE
        before, self._last = self._last, pcm
        if not before or not 0 < missing <= LONGEST:
            return pcm
        return smear(before, missing) + pcm


def smear(pcm: bytes, samples: int) -> bytes:
    """Return the end of `pcm`, repeated and fading, as `samples` samples. Pure."""
    last = np.frombuffer(pcm, "<i2").astype(np.float32)
    mirrored = np.concatenate((last[::-1], last))  # no jump where one joins the next
    found = np.resize(mirrored, samples) * np.linspace(1, 0.2, samples, dtype=np.float32)
    return found.astype("<i2").tobytes()
