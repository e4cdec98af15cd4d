"""Notices what hangs: an engine, a load, a driver, or the manager itself.

A scheduler that hangs must not stay green, so this asks nobody: it compares clocks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from barnabee.core.errors import BarnabeeError, TimedOut
from barnabee.gpu.model_runtime import Slot, State

SILENT_S = 10.0  # a manager that has not looked for so long hangs
LOAD_LIMIT_S = 120.0


class Watch:
    """When the manager last looked, and since when it has been loading what."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Begin as if the manager had just looked."""
        self._clock = clock
        self._looked_s = clock()
        self._loading: tuple[str, float] | None = None

    def looked(self) -> None:
        """Record that the manager goes round."""
        self._looked_s = self._clock()

    def loading(self, model: str | None) -> None:
        """Record that a load has begun, or that it is over."""
        self._loading = (model, self._clock()) if model else None

    def check(self, slots: Iterable[Slot[Any]], trouble: BarnabeeError | None) -> None:
        """Raise the first thing that hangs; `trouble` is what the driver last failed with."""
        for slot in slots:
            if slot.state is State.STUCK:
                slot.check()
        now_s = self._clock()
        if now_s - self._looked_s > SILENT_S:
            raise TimedOut(what="the manager of the card's memory", limit_ms=int(SILENT_S * 1000))
        if self._loading and now_s - self._loading[1] > LOAD_LIMIT_S:
            what = f"the loading of {self._loading[0]}"
            raise TimedOut(what=what, limit_ms=int(LOAD_LIMIT_S * 1000))
        if trouble:
            raise trouble
