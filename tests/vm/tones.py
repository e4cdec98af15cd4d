"""Filler recordings for the flake's checks: every phrase as a tone."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from barnabee.core import system
from barnabee.voice.fillers import PhraseSynthesizer, generate_recordings

RATE_HZ = 24_000


def synthesize_tone(phrase: str) -> NDArray[np.float32]:
    """Return a tone of 10 ms for each character, mono at RATE_HZ."""
    angle = 2 * np.pi * 220 * np.arange(RATE_HZ // 100 * len(phrase)) / RATE_HZ
    return (0.3 * np.sin(angle)).astype(np.float32)


if __name__ == "__main__":
    generate_recordings(
        system.load_system(),
        PhraseSynthesizer(synthesize_tone, {"made by": "tests"}, RATE_HZ),
        Path(sys.argv[1]),
    )
