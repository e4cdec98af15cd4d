"""Records every phrase of the house as a tone: what they say is not what is tested."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from barnabee.core import system
from barnabee.voice.filler_files import Maker, generate

RATE_HZ = 24_000


def tone(phrase: str) -> NDArray[np.float32]:
    """Return 10 ms for each character."""
    angle = 2 * np.pi * 220 * np.arange(RATE_HZ // 100 * len(phrase)) / RATE_HZ
    return (0.3 * np.sin(angle)).astype(np.float32)


if __name__ == "__main__":
    generate(system.load(), Maker(tone, {"made by": "tests"}, RATE_HZ), Path(sys.argv[1]))
