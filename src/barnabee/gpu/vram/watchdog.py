"""Watchdog of the VRAM manager: detects a hung engine, load, driver or manager by timestamps."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from barnabee.core.errors import BarnabeeError, TimedOut
from barnabee.gpu.model_runtime import ModelRuntime, RuntimeState

MANAGER_TIMEOUT_S = 10.0  # between two cycles of the manager
LOAD_TIMEOUT_S = 120.0


class ManagerWatchdog:
    """Time of the manager's last cycle and of the load in progress."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._last_cycle_s = clock()
        self._loading: tuple[str, float] | None = None

    def record_cycle(self) -> None:
        self._last_cycle_s = self._clock()

    def record_load(self, model: str | None) -> None:
        """Record the start of a load, or its end with None."""
        self._loading = (model, self._clock()) if model else None

    def check(
        self, runtimes: Iterable[ModelRuntime[Any]], driver_error: BarnabeeError | None
    ) -> None:
        """Raise the first problem; `driver_error` is the driver's last failure."""
        for runtime in runtimes:
            if runtime.state is RuntimeState.STUCK:
                runtime.require_engine()
        now_s = self._clock()
        if now_s - self._last_cycle_s > MANAGER_TIMEOUT_S:
            raise TimedOut(what="the GPU memory manager", limit_ms=int(MANAGER_TIMEOUT_S * 1000))
        if self._loading and now_s - self._loading[1] > LOAD_TIMEOUT_S:
            what = f"loading the model {self._loading[0]}"
            raise TimedOut(what=what, limit_ms=int(LOAD_TIMEOUT_S * 1000))
        if driver_error:
            raise driver_error
