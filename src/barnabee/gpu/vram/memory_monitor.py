"""Memory monitor and watchdog of the VRAM manager.

The driver reports one sum for the process. What a model takes while it is loaded alone is its own;
later growth belongs to the models used since all were idle. The probe is read in a thread, because
a hanging driver must not block the event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from barnabee.core.errors import BarnabeeError, DependencyDown, TimedOut
from barnabee.gpu.model_runtime import ModelRuntime, RuntimeState
from barnabee.gpu.vram.ledger import Ledger
from barnabee.gpu.vram.types import MeasuredMemory

if TYPE_CHECKING:
    from barnabee.gpu.vram.probe import MemoryReading, VramProbe

PROBE_TIMEOUT_S = 2.0
RECLAIM_TIMEOUT_S = 5.0  # for the driver to free memory after an unload
RECLAIMED_PERCENT = 90
POLL_INTERVAL_S = 0.05
MANAGER_TIMEOUT_S = 10.0  # between two cycles of the manager
LOAD_TIMEOUT_S = 120.0


class MemoryMonitor:
    """Last reading, baseline of the process without models, and models used since all were idle."""

    def __init__(self, ledger: Ledger, probe: VramProbe) -> None:
        self.reading: MemoryReading | None = None
        self.baseline_mib = 0
        self.error: BarnabeeError | None = None
        self.used_models: set[str] = set()
        self._ledger, self.probe = ledger, probe

    @property
    def process_mib(self) -> int:
        """Memory of this process; 0 before the first reading."""
        return self.reading.process_mib if self.reading else 0

    @property
    def current_reading(self) -> MemoryReading | None:
        """The last reading, or None when the driver does not answer."""
        return None if self.error else self.reading

    async def refresh(self) -> None:
        """Read the probe; `error` holds the last failure until a reading succeeds."""
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_S):
                self.reading = await asyncio.to_thread(self.probe.read)
            self.error = None
        except TimeoutError:
            self.error = DependencyDown(dependency="the GPU driver", reason="no reading in time")
        except BarnabeeError as error:
            self.error = error

    async def measure_baseline(self) -> None:
        """Read the probe before any model is loaded."""
        await self.refresh()
        self.baseline_mib = self.process_mib

    def measured_memory(self) -> MeasuredMemory:
        """Convert the last reading for the ledger."""
        reading, gpu = self.reading, self._ledger.gpu
        if reading is None:
            return MeasuredMemory(free_mib=0, other_mib=gpu.vram_mib)
        absent = max(0, gpu.vram_mib - reading.total_mib)  # a smaller GPU than declared
        foreign = max(0, reading.total_mib - reading.free_mib - reading.process_mib)
        other = absent + foreign + self.baseline_mib + self._unreclaimed_mib()
        free = min(reading.free_mib, gpu.vram_mib - foreign - reading.process_mib)
        return MeasuredMemory(max(0, free), other)

    def attribute_growth(self, active_models: Iterable[str], *, computing: bool) -> None:
        """Attribute growth or shrinkage since all models were idle to the models used since.

        While one model computes alone, the excess over all models' memory at rest is its peak.
        """
        held = {name: model.held_mib for name, model in self._ledger.resident.items()}
        if self.reading is None or self._ledger.in_transition():
            return
        grown = self.process_mib - self.baseline_mib - self._unreclaimed_mib() - sum(held.values())
        active = set(active_models) & held.keys()
        if computing:
            if len(active) == 1 and grown > 0:
                (name,) = active
                self._ledger.record_measurement(
                    name, held_mib=held[name], highest_mib=held[name] + grown
                )
        elif (self.used_models | active) & held.keys():
            for name, mib in distribute_growth(held, self.used_models | active, grown).items():
                self._ledger.record_measurement(name, held_mib=mib, highest_mib=mib)
            self.used_models.clear()
        else:
            self.baseline_mib = max(0, self.baseline_mib + grown)

    def _unreclaimed_mib(self) -> int:
        ledger = self._ledger
        unloaded = ledger.reservations.keys() - ledger.resident.keys()
        return sum(ledger.reservations[name].left_mib for name in unloaded)


def distribute_growth(
    held_mib: Mapping[str, int], used: Collection[str], grown_mib: int
) -> dict[str, int]:
    """Return each model's memory at rest after the process has grown by `grown_mib`. Pure.

    The models in `used` share it in proportion to their memory; no model goes below 0, and without
    used models nothing changes.
    """
    names = sorted(name for name in used if name in held_mib)
    total = sum(held_mib[name] for name in names)
    result = dict(held_mib)
    left = grown_mib
    for number, name in enumerate(names):
        last = number == len(names) - 1
        share = left if last else grown_mib * held_mib[name] // total if total else 0
        result[name] = max(0, held_mib[name] + share)
        left -= share
    return result


@dataclass(frozen=True, slots=True)
class MeasuredLoad:
    """Duration of a load and the memory it took."""

    duration_s: float
    held_mib: int


async def load_and_measure(
    runtime: ModelRuntime[Any], memory: MemoryMonitor, left_mib: int
) -> MeasuredLoad:
    """Load and warm up a model; raises the engine's error.

    `left_mib` was not freed by its last unload and is part of its memory again.
    """
    before_mib = memory.process_mib
    duration_s = await runtime.load()
    await memory.refresh()
    return MeasuredLoad(duration_s, max(0, memory.process_mib - before_mib + left_mib))


async def unload_and_measure(
    runtime: ModelRuntime[Any], memory: MemoryMonitor, held_mib: int, clock: Callable[[], float]
) -> int:
    """Unload a model; return how much of `held_mib` is not freed within `RECLAIM_TIMEOUT_S`.

    Raises the error of an engine that refuses to close.
    """
    await memory.refresh()
    before_mib = memory.process_mib
    await runtime.unload()
    if runtime.task == "llm":
        held_mib = 0  # its process has ended, perhaps before the unload, and holds nothing
    deadline_s = clock() + RECLAIM_TIMEOUT_S
    while True:
        await memory.refresh()
        freed_mib = before_mib - memory.process_mib
        if freed_mib * 100 >= held_mib * RECLAIMED_PERCENT or clock() >= deadline_s:
            return max(0, held_mib - freed_mib)
        await asyncio.sleep(POLL_INTERVAL_S)


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
