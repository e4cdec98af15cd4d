"""Clock that a test advances."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class FakeClock:
    """Stands still until the test changes `now_s`."""

    now_s: float = 1000.0

    def __call__(self) -> float:
        return self.now_s
