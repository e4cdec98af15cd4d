"""What is read of a card: NVIDIA's own binding, with a driver that the test plays."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pynvml
import pytest

from barnabee.core.errors import DependencyDown
from barnabee.gpu.engines.device import Device
from barnabee.gpu.vram.probe import MIB, MemoryProbe, NvmlProbe, Sensors, open_probe

CARD = object()
Answer = Callable[[], Any]


def cannot() -> Any:
    raise pynvml.NVMLError_NotSupported


def lost() -> Any:
    raise pynvml.NVMLError_GpuIsLost


@dataclass
class Driver:
    """Answers of the driver; a test changes them."""

    opened: int = 0
    used_mib: int = 3000
    processes: list[Any] = field(default_factory=list)
    utilisation: Answer = lambda: SimpleNamespace(gpu=37, memory=12)
    temperature: Answer = lambda: 64
    power: Answer = lambda: 182_500
    reasons: Answer = lambda: 0
    memory: Answer | None = None

    def init(self) -> None:
        self.opened += 1

    def read_memory(self, _card: object) -> Any:
        if self.memory:
            return self.memory()
        total, used = 16_376 * MIB, self.used_mib * MIB
        return SimpleNamespace(total=total, used=used, free=total - used)


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Driver:
    """Stands where libnvidia-ml would; each name must exist in the binding."""
    one = Driver()
    plays: dict[str, Callable[..., Any]] = {
        "nvmlInit": one.init,
        "nvmlShutdown": lambda: None,
        "nvmlDeviceGetHandleByIndex": lambda index: CARD if index == 0 else lost(),
        "nvmlDeviceGetMemoryInfo": one.read_memory,
        "nvmlDeviceGetComputeRunningProcesses": lambda _card: one.processes,
        "nvmlDeviceGetUtilizationRates": lambda _card: one.utilisation(),
        "nvmlDeviceGetTemperature": lambda _card, _sensor: one.temperature(),
        "nvmlDeviceGetPowerUsage": lambda _card: one.power(),
        "nvmlDeviceGetCurrentClocksEventReasons": lambda _card: one.reasons(),
    }
    for name, play in plays.items():
        monkeypatch.setattr(pynvml, name, play)
    return one


def test_memory_is_read_and_ours_is_what_this_process_holds(driver: Driver) -> None:
    driver.processes = [
        SimpleNamespace(pid=1, usedGpuMemory=700 * MIB),
        SimpleNamespace(pid=os.getpid(), usedGpuMemory=2000 * MIB),
    ]
    reading = NvmlProbe(0).read()
    assert (reading.total_mib, reading.free_mib, reading.ours_mib) == (16_376, 13_376, 2000)


@pytest.mark.parametrize("processes", [[], [SimpleNamespace(pid=os.getpid(), usedGpuMemory=None)]])
def test_where_the_driver_does_not_say_whose_memory_it_is_ours_is_what_came_since(
    driver: Driver, processes: list[Any]
) -> None:
    driver.processes = processes
    probe = NvmlProbe(0)
    assert probe.read().ours_mib == 0
    driver.used_mib += 512
    assert probe.read().ours_mib == 512
    driver.used_mib -= 1000  # somebody else went
    assert probe.read().ours_mib == 0


def test_the_sensors_are_read(driver: Driver) -> None:
    driver.reasons = lambda: (
        pynvml.nvmlClocksEventReasonGpuIdle | pynvml.nvmlClocksEventReasonSwThermalSlowdown
    )
    sensors = NvmlProbe(0).read().sensors
    assert sensors is not None
    assert (sensors.utilisation_percent, sensors.temperature_c, sensors.power_mw) == (
        37,
        64,
        182_500,
    )
    assert sensors.slowed == {
        "power_cap": False,
        "hardware": False,
        "software_thermal": True,
        "hardware_thermal": False,
        "power_brake": False,
    }


def test_what_a_card_cannot_tell_is_left_out_and_the_rest_is_there(driver: Driver) -> None:
    driver.utilisation = driver.power = driver.reasons = cannot
    assert NvmlProbe(0).read().sensors == Sensors(temperature_c=64)


def test_a_card_that_is_lost_is_said_to_be_down_and_opened_anew_when_it_is_back(
    driver: Driver,
) -> None:
    probe = NvmlProbe(0)
    probe.read()
    driver.memory = lost
    with pytest.raises(DependencyDown, match="the card's driver"):
        probe.read()
    driver.memory = None
    assert probe.read().total_mib == 16_376
    assert driver.opened == 2


def test_a_sensor_that_finds_the_card_lost_is_no_missing_sensor(driver: Driver) -> None:
    driver.temperature = lost
    with pytest.raises(DependencyDown):
        NvmlProbe(0).read()


def test_a_card_that_is_not_there_is_said_to_be_down(driver: Driver) -> None:
    with pytest.raises(DependencyDown, match="the card's driver"):
        NvmlProbe(3).read()
    assert driver.opened == 1


def test_without_a_card_main_memory_is_read() -> None:
    probe = open_probe(Device("cpu"), 100_000_000)
    assert isinstance(probe, MemoryProbe)
    reading = probe.read()
    assert reading.total_mib == 100_000_000
    assert 10 < reading.ours_mib < 100_000
    assert 0 < reading.free_mib < 100_000_000 - reading.ours_mib  # no more than the machine has
    assert reading.sensors is None
