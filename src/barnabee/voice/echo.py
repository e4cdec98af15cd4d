"""Echo detection: the share of the microphone's energy that is the assistant's own playback. Pure.

A microphone without echo cancellation picks up the loudspeaker. Each window is correlated with the
recent playback; the result is the share of its energy that the best match in time and level
explains. It falls when a person speaks at the same time.
"""

from __future__ import annotations

import numpy as np

from barnabee.audio.samples import Samples

RATE_HZ = 16_000
# From handing audio to the transport to recording it: network, player buffer and room acoustics.
MAX_DELAY_SAMPLES = int(0.8 * RATE_HZ)
ECHO_WINDOW_SAMPLES = 2048  # 128 ms: unrelated speech then matches with a share below 0.15
SILENCE_POWER = 1e-6  # mean square


class EchoDetector:
    """Recent playback and microphone audio of one room, at 16 kHz."""

    def __init__(self) -> None:
        self._played = np.zeros(MAX_DELAY_SAMPLES + ECHO_WINDOW_SAMPLES, np.float32)
        self._recorded = np.zeros(ECHO_WINDOW_SAMPLES, np.float32)
        self._age = (
            MAX_DELAY_SAMPLES + ECHO_WINDOW_SAMPLES
        )  # samples recorded since the last playback

    @property
    def is_echo_possible(self) -> bool:
        """Whether recent playback may still be audible."""
        return self._age < MAX_DELAY_SAMPLES + ECHO_WINDOW_SAMPLES

    def add_playback(self, samples: Samples) -> None:
        if not len(samples):
            return
        self._played = np.concatenate((self._played, samples))[
            -(MAX_DELAY_SAMPLES + ECHO_WINDOW_SAMPLES) :
        ]
        self._age = 0

    def add_recorded(self, samples: Samples) -> None:
        """Append microphone audio, which also serves as the clock."""
        self._recorded = np.concatenate((self._recorded, samples))[-ECHO_WINDOW_SAMPLES:]
        self._age += len(samples)

    def measure_share(self) -> float:
        """Return the share (0 to 1) of the energy of the last 128 ms that is echo."""
        return measure_echo_share(self._played, self._recorded) if self.is_echo_possible else 0.0


def measure_echo_share(played: Samples, recorded: Samples) -> float:
    """Return the share of the energy of `recorded` that its best match in `played` explains."""
    energy = float(recorded @ recorded)
    if energy < SILENCE_POWER * len(recorded) or float(played @ played) < SILENCE_POWER * len(
        played
    ):
        return 0.0
    size = 1 << (len(played) + len(recorded) - 1).bit_length()
    spectrum = np.fft.rfft(played, size) * np.conj(np.fft.rfft(recorded, size))
    matches = np.fft.irfft(spectrum, size)[: len(played) - len(recorded) + 1]
    sums = np.concatenate(([0.0], np.cumsum(np.square(played, dtype=np.float64))))
    energies = sums[len(recorded) :] - sums[: -len(recorded)]
    shares = np.square(matches) / np.maximum(energies * energy, 1e-12)
    shares[energies < SILENCE_POWER * len(recorded)] = 0.0
    return float(min(1.0, shares.max()))
