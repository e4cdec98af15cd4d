"""Is this sound only the echo of what was just played? Pure.

A microphone without echo cancellation hears the loudspeaker beside it. What was played is known, so
each window is compared with all of it that may still be in the air: the best match in time and
loudness is taken away, and what share of the energy goes with it is the answer. A person who speaks
at the same time is not explained by what was played, and the share falls.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]  # (n,), mono, 16 kHz, in [-1, 1]
RATE_HZ = 16_000
# From handing sound to the transport to hearing it: buffers of network and player, and the room.
REACH = int(0.8 * RATE_HZ)
WINDOW = 2048  # 128 ms: long enough that speech is not like other speech by chance (share < 0.15)
QUIET = 1e-6  # mean square below which nothing was played, or nothing is heard


class Echo:
    """What was played of late into one room, and what is heard there."""

    def __init__(self) -> None:
        """Begin in silence."""
        self._played = np.zeros(REACH + WINDOW, np.float32)
        self._heard = np.zeros(WINDOW, np.float32)
        self._age = REACH + WINDOW  # samples heard since something was last played

    @property
    def possible(self) -> bool:
        """Return whether anything played could still be heard."""
        return self._age < REACH + WINDOW

    def play(self, sound: Samples) -> None:
        """Take note of sound that goes out now."""
        if not len(sound):
            return
        self._played = np.concatenate((self._played, sound))[-(REACH + WINDOW) :]
        self._age = 0

    def hear(self, sound: Samples) -> None:
        """Take note of sound from the microphone; time goes by with it."""
        self._heard = np.concatenate((self._heard, sound))[-WINDOW:]
        self._age += len(sound)

    def share(self) -> float:
        """Return the share (0 to 1) of the energy heard in the last 128 ms that is echo."""
        return explained(self._played, self._heard) if self.possible else 0.0


def explained(played: Samples, heard: Samples) -> float:
    """Return the share of the energy of `heard` that its best match within `played` has. Pure."""
    energy = float(heard @ heard)
    if energy < QUIET * len(heard) or float(played @ played) < QUIET * len(played):
        return 0.0
    size = 1 << (len(played) + len(heard) - 1).bit_length()
    spectrum = np.fft.rfft(played, size) * np.conj(np.fft.rfft(heard, size))
    matches = np.fft.irfft(spectrum, size)[: len(played) - len(heard) + 1]
    sums = np.concatenate(([0.0], np.cumsum(np.square(played, dtype=np.float64))))
    energies = sums[len(heard) :] - sums[: -len(heard)]
    shares = np.square(matches) / np.maximum(energies * energy, 1e-12)
    shares[energies < QUIET * len(heard)] = 0.0
    return float(min(1.0, shares.max()))
