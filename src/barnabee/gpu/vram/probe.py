"""Memory probe: total, free and own memory of the GPU, and its sensors.

Without a GPU, main memory is read, so that the ledger's rules apply there too.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

import psutil

from barnabee.core.errors import DependencyDown
from barnabee.gpu.engines.base import Device

MIB = 1024 * 1024


# NVML's bits for throttling; idling and application settings are excluded.
_THROTTLE_REASONS = {
    "power_cap": "nvmlClocksEventReasonSwPowerCap",
    "hardware": "nvmlClocksEventReasonHwSlowdown",
    "software_thermal": "nvmlClocksEventReasonSwThermalSlowdown",
    "hardware_thermal": "nvmlClocksThrottleReasonHwThermalSlowdown",
    "power_brake": "nvmlClocksThrottleReasonHwPowerBrakeSlowdown",
}


@dataclass(frozen=True, slots=True)
class GpuSensors:
    """GPU sensors; None where not supported. `throttle_reasons` tells which reasons hold now."""

    utilisation_percent: int | None = None
    temperature_c: int | None = None
    power_mw: int | None = None
    throttle_reasons: Mapping[str, bool] | None = None


@dataclass(frozen=True, slots=True)
class MemoryReading:
    """Memory in MiB; the rest is held by other programs."""

    total_mib: int
    free_mib: int
    process_mib: int
    sensors: GpuSensors | None = None  # of a GPU


class VramProbe(Protocol):
    """Reader of memory and sensors; blocking, fast and thread-safe."""

    children: set[subprocess.Popen[bytes]]  # engines whose memory counts as this process' own

    def read(self) -> MemoryReading:
        """Return the current reading; DependencyDown when the driver does not answer."""


class MainMemoryProbe:
    """Main memory as a GPU of `limit_mib`; ours is resident in this process and its engines."""

    def __init__(self, limit_mib: int) -> None:
        self._limit_mib = limit_mib
        self._process = psutil.Process()
        self.children: set[subprocess.Popen[bytes]] = set()

    def read(self) -> MemoryReading:
        """Return the reading; free memory is also limited by the host's available memory."""
        process_mib = self._process.memory_info().rss // MIB
        for child in tuple(self.children):
            with suppress(psutil.Error):  # it has just ended
                process_mib += psutil.Process(child.pid).memory_info().rss // MIB
        available_mib = psutil.virtual_memory().available // MIB
        free_mib = max(0, min(self._limit_mib - process_mib, available_mib))
        return MemoryReading(self._limit_mib, free_mib, process_mib)


class NvmlProbe:
    """NVIDIA GPU or MIG slice, by number or UUID, through NVML; opened at the first reading."""

    def __init__(self, gpu: str) -> None:
        self._gpu = gpu
        self._handle: Any = None
        self._baseline_mib: int | None = None
        self.children: set[subprocess.Popen[bytes]] = set()

    def read(self) -> MemoryReading:
        """Return the reading; after a failure NVML is reopened by the next call."""
        import pynvml  # noqa: PLC0415 - only with a GPU

        try:
            if self._handle is None:
                pynvml.nvmlInit()
                self._handle = _open_handle(pynvml, self._gpu)
            memory = pynvml.nvmlDeviceGetMemoryInfo(self._handle)
            process_mib = self._read_process_mib(pynvml, memory.used // MIB)
            sensors = self._read_sensors(pynvml)
        except pynvml.NVMLError as error:
            self._handle = None
            with suppress(pynvml.NVMLError):
                pynvml.nvmlShutdown()
            raise DependencyDown(dependency="the GPU driver", reason=str(error)) from error
        return MemoryReading(memory.total // MIB, memory.free // MIB, process_mib, sensors)

    def _read_process_mib(self, nvml: Any, used_mib: int) -> int:
        """Return the memory of this process and its engines.

        The growth since the first reading where that is unsupported.
        """
        children = {child.pid for child in tuple(self.children)}
        processes = list(nvml.nvmlDeviceGetComputeRunningProcesses(self._handle))
        if children:  # a process that uses Vulkan is in this list, or in both
            with suppress(nvml.NVMLError_NotSupported):
                processes += nvml.nvmlDeviceGetGraphicsRunningProcesses(self._handle)
        held_mib = {
            process.pid: int(process.usedGpuMemory) // MIB
            for process in processes
            if process.pid in {os.getpid(), *children} and process.usedGpuMemory is not None
        }
        if held_mib:
            return sum(held_mib.values())
        if self._baseline_mib is None:
            self._baseline_mib = used_mib
        return max(0, used_mib - self._baseline_mib)

    def _read_sensors(self, nvml: Any) -> GpuSensors:
        gpu = self._handle
        rates = _read_optional(nvml, lambda: nvml.nvmlDeviceGetUtilizationRates(gpu).gpu)
        celsius = nvml.NVML_TEMPERATURE_GPU
        reasons = _read_optional(nvml, lambda: nvml.nvmlDeviceGetCurrentClocksEventReasons(gpu))
        slowed = (
            reasons
            if reasons is None
            else {
                reason: bool(reasons & getattr(nvml, bit))
                for reason, bit in _THROTTLE_REASONS.items()
            }
        )
        return GpuSensors(
            rates,
            _read_optional(nvml, lambda: nvml.nvmlDeviceGetTemperature(gpu, celsius)),
            _read_optional(nvml, lambda: nvml.nvmlDeviceGetPowerUsage(gpu)),
            slowed,
        )


def _open_handle(nvml: Any, gpu: str) -> Any:
    if gpu.isdecimal():
        return nvml.nvmlDeviceGetHandleByIndex(int(gpu))
    return nvml.nvmlDeviceGetHandleByUUID(gpu)


def _read_optional(nvml: Any, ask: Callable[[], int]) -> int | None:
    """Return the value, or None when GPU, MIG slice or driver do not support it."""
    try:
        return int(ask())
    except (
        nvml.NVMLError_NotSupported,
        nvml.NVMLError_FunctionNotFound,
        nvml.NVMLError_InvalidArgument,
    ):
        return None


def open_probe(device: Device, limit_mib: int) -> VramProbe:
    """Return the probe of `device`; `limit_mib` is the limit without a GPU."""
    return NvmlProbe(device.gpu) if device.kind == "cuda" else MainMemoryProbe(limit_mib)
