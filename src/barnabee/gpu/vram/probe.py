"""What the card says: how much there is, how much is free, how much this process holds, how it is.

Without a card the same is asked of main memory, so that every rule of the ledger holds there too.
Knows no model.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

import psutil

from barnabee.core.errors import DependencyDown
from barnabee.gpu.engines.device import Device

MIB = 1024 * 1024


# Why a card may run slower than it could, by the bits of NVML; idling and settings are no reasons.
_SLOWED = {
    "power_cap": "nvmlClocksEventReasonSwPowerCap",
    "hardware": "nvmlClocksEventReasonHwSlowdown",
    "software_thermal": "nvmlClocksEventReasonSwThermalSlowdown",
    "hardware_thermal": "nvmlClocksThrottleReasonHwThermalSlowdown",
    "power_brake": "nvmlClocksThrottleReasonHwPowerBrakeSlowdown",
}


@dataclass(frozen=True, slots=True)
class Sensors:
    """How the card is; None where it cannot tell. `slowed` says which reasons hold now."""

    utilisation_percent: int | None = None
    temperature_c: int | None = None
    power_mw: int | None = None
    slowed: Mapping[str, bool] | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """Memory in MiB; what is neither free nor ours, other programs hold."""

    total_mib: int
    free_mib: int
    ours_mib: int
    sensors: Sensors | None = None  # of a card


class Probe(Protocol):
    """Reads the card; blocking, quick, from any thread."""

    def read(self) -> Reading:
        """Return what it says now; DependencyDown when it does not answer."""


class MemoryProbe:
    """Main memory as a card of `limit_mib`: resident memory of this process is what is ours."""

    def __init__(self, limit_mib: int) -> None:
        """Take the most that this process may have."""
        self._limit_mib = limit_mib
        self._process = psutil.Process()

    def read(self) -> Reading:
        """Return the reading; free is also bounded by what the machine has."""
        ours_mib = self._process.memory_info().rss // MIB
        available_mib = psutil.virtual_memory().available // MIB
        free_mib = max(0, min(self._limit_mib - ours_mib, available_mib))
        return Reading(self._limit_mib, free_mib, ours_mib)


class NvmlProbe:
    """An NVIDIA card through its driver's management library."""

    def __init__(self, index: int) -> None:
        """Take the card's number; the driver is asked when it is read."""
        self._index = index
        self._card: Any = None
        self._before_mib: int | None = None

    def read(self) -> Reading:
        """Return the reading; a driver that failed is opened anew next time."""
        import pynvml  # noqa: PLC0415 - only where there is a card

        try:
            if self._card is None:
                pynvml.nvmlInit()
                self._card = pynvml.nvmlDeviceGetHandleByIndex(self._index)
            memory = pynvml.nvmlDeviceGetMemoryInfo(self._card)
            mine = self._mine_mib(pynvml, memory.used // MIB)
            sensors = self._sensors(pynvml)
        except pynvml.NVMLError as error:
            self._card = None
            with suppress(pynvml.NVMLError):
                pynvml.nvmlShutdown()
            raise DependencyDown(dependency="the card's driver", reason=str(error)) from error
        return Reading(memory.total // MIB, memory.free // MIB, mine, sensors)

    def _mine_mib(self, nvml: Any, used_mib: int) -> int:
        """Return what this process holds; where the driver does not say, what came since."""
        for process in nvml.nvmlDeviceGetComputeRunningProcesses(self._card):
            if process.pid == os.getpid() and process.usedGpuMemory is not None:
                return int(process.usedGpuMemory) // MIB
        if self._before_mib is None:
            self._before_mib = used_mib
        return max(0, used_mib - self._before_mib)

    def _sensors(self, nvml: Any) -> Sensors:
        card = self._card
        rates = _told(nvml, lambda: nvml.nvmlDeviceGetUtilizationRates(card).gpu)
        celsius = nvml.NVML_TEMPERATURE_GPU
        reasons = _told(nvml, lambda: nvml.nvmlDeviceGetCurrentClocksEventReasons(card))
        slowed = (
            reasons
            if reasons is None
            else {reason: bool(reasons & getattr(nvml, bit)) for reason, bit in _SLOWED.items()}
        )
        return Sensors(
            rates,
            _told(nvml, lambda: nvml.nvmlDeviceGetTemperature(card, celsius)),
            _told(nvml, lambda: nvml.nvmlDeviceGetPowerUsage(card)),
            slowed,
        )


def _told(nvml: Any, ask: Callable[[], int]) -> int | None:
    """Return the answer, or None from a card or driver that does not know this question."""
    try:
        return int(ask())
    except (nvml.NVMLError_NotSupported, nvml.NVMLError_FunctionNotFound):
        return None


def open_probe(device: Device, limit_mib: int) -> Probe:
    """Return what reads the memory of `device`; `limit_mib` counts where there is no card."""
    return NvmlProbe(device.index) if device.kind == "cuda" else MemoryProbe(limit_mib)
