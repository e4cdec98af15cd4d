"""Where an engine computes. Chosen once for the whole service (BARNABEE_DEVICE)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Device:
    """A processor and how much of it one engine may use."""

    kind: Literal["cpu", "cuda"] = "cpu"
    threads: int = 1  # of the CPU, for one engine
    index: int = 0  # of the card
