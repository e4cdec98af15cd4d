"""Watchdog of the VRAM manager with an injected clock."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from barnabee.core.errors import DependencyDown, EngineStuck, TimedOut
from barnabee.gpu.model_runtime import ModelRuntime
from barnabee.gpu.vram.memory_monitor import LOAD_TIMEOUT_S, MANAGER_TIMEOUT_S, ManagerWatchdog
from support.clock import FakeClock
from support.fake_engines import FakeSynthesizer, JobGate
from support.wait import wait_until


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def test_cycling_manager_is_healthy(clock: FakeClock) -> None:
    watchdog = ManagerWatchdog(clock)
    for _ in range(5):
        clock.now_s += MANAGER_TIMEOUT_S
        watchdog.check((), None)
        watchdog.record_cycle()


def test_stalled_manager_is_detected(clock: FakeClock) -> None:
    watchdog = ManagerWatchdog(clock)
    clock.now_s += MANAGER_TIMEOUT_S + 0.1
    with pytest.raises(TimedOut, match="the GPU memory manager"):
        watchdog.check((), None)
    watchdog.record_cycle()
    watchdog.check((), None)


def test_hung_load_is_detected_and_named(clock: FakeClock) -> None:
    watchdog = ManagerWatchdog(clock)
    watchdog.record_load("kokoro")
    clock.now_s += LOAD_TIMEOUT_S
    watchdog.record_cycle()
    watchdog.check((), None)
    clock.now_s += 0.1
    with pytest.raises(TimedOut, match="loading the model kokoro"):
        watchdog.check((), None)
    watchdog.record_load(None)
    watchdog.check((), None)


def test_driver_error_is_raised(clock: FakeClock) -> None:
    error = DependencyDown(dependency="the GPU driver", reason="GPU is lost")
    with pytest.raises(DependencyDown, match="GPU is lost"):
        ManagerWatchdog(clock).check((), error)


@pytest.fixture
def gate() -> Iterator[JobGate]:
    gate = JobGate()
    yield gate
    gate.opened.set()


async def test_hung_inference_is_detected_until_it_ends(clock: FakeClock, gate: JobGate) -> None:
    slot = ModelRuntime("tts", "kokoro", FakeSynthesizer, inference_limit_s=0.05)
    running = slot.submit(gate.wait_until_open)
    await wait_until(lambda: slot.running_s > 0.05)
    with pytest.raises(EngineStuck, match="kokoro"):
        ManagerWatchdog(clock).check((slot,), None)
    gate.opened.set()
    running.result(60)
    await wait_until(lambda: not slot.is_busy)
    ManagerWatchdog(clock).check((slot,), None)
