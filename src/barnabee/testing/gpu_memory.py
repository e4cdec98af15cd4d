"""A card for tests: what is on it is what the test puts there."""

from __future__ import annotations

from dataclasses import dataclass, field
from threading import Lock

from barnabee.core.errors import BarnabeeError
from barnabee.gpu.vram.probe import Reading


@dataclass
class FakeCard:
    """Fits where a Probe is expected; from any thread."""

    total_mib: int
    held_mib: dict[str, int] = field(default_factory=dict)
    others_mib: int = 0
    error: BarnabeeError | None = None
    _lock: Lock = field(default_factory=Lock, repr=False)

    def take(self, name: str, mib: int) -> None:
        """Let `name` hold `mib`."""
        with self._lock:
            self.held_mib[name] = mib

    def give(self, name: str) -> None:
        """Let `name` give everything back."""
        with self._lock:
            self.held_mib.pop(name, None)

    def others(self, mib: int) -> None:
        """Let other programs hold `mib`."""
        self.others_mib = mib

    def failing(self, error: BarnabeeError | None) -> None:
        """Let every reading fail with `error`, until None is given."""
        self.error = error

    def read(self) -> Reading:
        """Return what is there now."""
        if self.error is not None:
            raise self.error
        with self._lock:
            ours = sum(self.held_mib.values())
        return Reading(self.total_mib, max(0, self.total_mib - ours - self.others_mib), ours)
