"""Memory probe: NVML with a fake driver, and main memory."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pynvml
import pytest

from barnabee.core.errors import DependencyDown
from barnabee.core.settings import Settings
from barnabee.gpu import engine_factory
from barnabee.gpu.engines.base import Device
from barnabee.gpu.vram.probe import MIB, GpuSensors, MainMemoryProbe, NvmlProbe, open_probe

HANDLE = object()
SLICE = "MIG-0fa1b2c3-0000-1111-2222-333344445555"
Reply = Callable[[], Any]


def not_supported() -> Any:
    raise pynvml.NVMLError_NotSupported


def invalid_argument() -> Any:
    raise pynvml.NVMLError_InvalidArgument


def gpu_lost() -> Any:
    raise pynvml.NVMLError_GpuIsLost


@dataclass
class Driver:
    """Replies of the fake driver."""

    opened: int = 0
    used_mib: int = 3000
    processes: list[Any] = field(default_factory=list)
    graphics: Callable[[], list[Any]] = list
    utilisation: Reply = lambda: SimpleNamespace(gpu=37, memory=12)
    temperature: Reply = lambda: 64
    power: Reply = lambda: 182_500
    reasons: Reply = lambda: 0
    memory: Reply | None = None

    def init(self) -> None:
        self.opened += 1

    def read_memory(self, _handle: object) -> Any:
        if self.memory:
            return self.memory()
        total, used = 16_376 * MIB, self.used_mib * MIB
        return SimpleNamespace(total=total, used=used, free=total - used)


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Driver:
    """Replace NVML functions; each name must exist in the binding."""
    fake = Driver()
    functions: dict[str, Callable[..., Any]] = {
        "nvmlInit": fake.init,
        "nvmlShutdown": lambda: None,
        "nvmlDeviceGetHandleByIndex": lambda index: HANDLE if index == 0 else gpu_lost(),
        "nvmlDeviceGetHandleByUUID": lambda uuid: HANDLE if uuid == SLICE else gpu_lost(),
        "nvmlDeviceGetMemoryInfo": fake.read_memory,
        "nvmlDeviceGetComputeRunningProcesses": lambda _handle: fake.processes,
        "nvmlDeviceGetGraphicsRunningProcesses": lambda _handle: fake.graphics(),
        "nvmlDeviceGetUtilizationRates": lambda _handle: fake.utilisation(),
        "nvmlDeviceGetTemperature": lambda _handle, _sensor: fake.temperature(),
        "nvmlDeviceGetPowerUsage": lambda _handle: fake.power(),
        "nvmlDeviceGetCurrentClocksEventReasons": lambda _handle: fake.reasons(),
    }
    for name, function in functions.items():
        monkeypatch.setattr(pynvml, name, function)
    return fake


def test_process_memory_is_read_from_the_driver(driver: Driver) -> None:
    driver.processes = [
        SimpleNamespace(pid=1, usedGpuMemory=700 * MIB),
        SimpleNamespace(pid=os.getpid(), usedGpuMemory=2000 * MIB),
    ]
    reading = NvmlProbe("0").read()
    assert (reading.total_mib, reading.free_mib, reading.process_mib) == (16_376, 13_376, 2000)


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    """Start a Python process that waits for its input."""
    code = "print(flush=True); input()"
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


def test_memory_of_an_engine_in_a_child_counts_as_own(
    driver: Driver, child: subprocess.Popen[bytes]
) -> None:
    listed = SimpleNamespace(pid=child.pid, usedGpuMemory=600 * MIB)
    driver.processes = [SimpleNamespace(pid=os.getpid(), usedGpuMemory=2000 * MIB)]
    driver.graphics = lambda: [listed, SimpleNamespace(pid=1, usedGpuMemory=50 * MIB)]
    probe = NvmlProbe("0")
    assert probe.read().process_mib == 2000
    probe.children.add(child)
    assert probe.read().process_mib == 2600
    driver.processes.append(listed)  # in both lists
    assert probe.read().process_mib == 2600
    driver.graphics = not_supported
    assert probe.read().process_mib == 2600


def test_main_memory_includes_an_engine_in_a_child(child: subprocess.Popen[bytes]) -> None:
    probe = MainMemoryProbe(100_000_000)
    alone_mib = probe.read().process_mib
    probe.children.add(child)
    assert probe.read().process_mib >= alone_mib + 3  # a Python interpreter
    child.kill()
    child.wait()
    assert probe.read().process_mib < alone_mib + 3


@pytest.mark.parametrize("processes", [[], [SimpleNamespace(pid=os.getpid(), usedGpuMemory=None)]])
def test_process_memory_falls_back_to_growth_since_start(
    driver: Driver, processes: list[Any]
) -> None:
    driver.processes = processes
    probe = NvmlProbe("0")
    assert probe.read().process_mib == 0
    driver.used_mib += 512
    assert probe.read().process_mib == 512
    driver.used_mib -= 1000  # another process freed memory
    assert probe.read().process_mib == 0


def test_sensors_are_read(driver: Driver) -> None:
    driver.reasons = lambda: (
        pynvml.nvmlClocksEventReasonGpuIdle | pynvml.nvmlClocksEventReasonSwThermalSlowdown
    )
    sensors = NvmlProbe("0").read().sensors
    assert sensors is not None
    assert (sensors.utilisation_percent, sensors.temperature_c, sensors.power_mw) == (
        37,
        64,
        182_500,
    )
    assert sensors.throttle_reasons == {
        "power_cap": False,
        "hardware": False,
        "software_thermal": True,
        "hardware_thermal": False,
        "power_brake": False,
    }


def test_unsupported_sensors_are_none(driver: Driver) -> None:
    driver.utilisation = driver.power = driver.reasons = not_supported
    assert NvmlProbe("0").read().sensors == GpuSensors(temperature_c=64)


def test_a_slice_is_opened_by_its_uuid_and_lacks_sensors(driver: Driver) -> None:
    driver.temperature = driver.utilisation = driver.power = driver.reasons = invalid_argument
    device = engine_factory.read_device(
        Settings(BARNABEE_DEVICE="cuda", CUDA_VISIBLE_DEVICES=SLICE)
    )
    reading = open_probe(device, 0).read()
    assert (reading.total_mib, reading.sensors) == (16_376, GpuSensors())


def test_lost_gpu_is_down_and_reopened_when_it_returns(
    driver: Driver,
) -> None:
    probe = NvmlProbe("0")
    probe.read()
    driver.memory = gpu_lost
    with pytest.raises(DependencyDown, match="the GPU driver"):
        probe.read()
    driver.memory = None
    assert probe.read().total_mib == 16_376
    assert driver.opened == 2


def test_sensor_of_a_lost_gpu_is_an_error(driver: Driver) -> None:
    driver.temperature = gpu_lost
    with pytest.raises(DependencyDown):
        NvmlProbe("0").read()


def test_missing_gpu_is_down(driver: Driver) -> None:
    with pytest.raises(DependencyDown, match="the GPU driver"):
        NvmlProbe("3").read()
    assert driver.opened == 1


def test_main_memory_is_read_without_a_gpu() -> None:
    probe = open_probe(Device("cpu"), 100_000_000)
    assert isinstance(probe, MainMemoryProbe)
    reading = probe.read()
    assert reading.total_mib == 100_000_000
    assert 10 < reading.process_mib < 100_000
    assert 0 < reading.free_mib < 100_000_000 - reading.process_mib  # at most the host's memory
    assert reading.sensors is None
