"""What hangs is noticed by clocks alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from barnabee.core.errors import DependencyDown, EngineStuck, TimedOut
from barnabee.gpu.model_runtime import Slot
from barnabee.gpu.vram.watchdog import LOAD_LIMIT_S, SILENT_S, Watch
from barnabee.testing.engines import FakeVoice, Gate
from support.wait import until


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_manager_that_goes_round_is_well(clock: Clock) -> None:
    watch = Watch(clock)
    for _ in range(5):
        clock.now_s += SILENT_S
        watch.check((), None)
        watch.looked()


def test_a_manager_that_no_longer_goes_round_is_noticed(clock: Clock) -> None:
    watch = Watch(clock)
    clock.now_s += SILENT_S + 0.1
    with pytest.raises(TimedOut, match="the manager of the card's memory"):
        watch.check((), None)
    watch.looked()
    watch.check((), None)


def test_a_load_that_does_not_end_is_noticed_and_named(clock: Clock) -> None:
    watch = Watch(clock)
    watch.loading("kokoro")
    clock.now_s += LOAD_LIMIT_S
    watch.looked()
    watch.check((), None)
    clock.now_s += 0.1
    with pytest.raises(TimedOut, match="the loading of kokoro"):
        watch.check((), None)
    watch.loading(None)
    watch.check((), None)


def test_what_the_driver_failed_with_is_said(clock: Clock) -> None:
    trouble = DependencyDown(dependency="the card's driver", reason="GPU is lost")
    with pytest.raises(DependencyDown, match="GPU is lost"):
        Watch(clock).check((), trouble)


@pytest.fixture
def gate() -> Iterator[Gate]:
    one = Gate()
    yield one
    one.opened.set()


async def test_an_inference_over_its_limit_is_noticed_until_it_ends(
    clock: Clock, gate: Gate
) -> None:
    slot = Slot("tts", "kokoro", FakeVoice, limit_s=0.05)
    running = slot.lane.submit(gate.passed)
    await until(lambda: slot.lane.running_s > 0.05)
    with pytest.raises(EngineStuck, match="kokoro"):
        Watch(clock).check((slot,), None)
    gate.opened.set()
    running.result(5)
    await until(lambda: not slot.lane.busy)
    Watch(clock).check((slot,), None)
