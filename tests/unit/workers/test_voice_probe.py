from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from barnabee.clients.probe import SESSION, Result
from barnabee.core.health import Degraded, Unknown
from barnabee.core.metrics import Metrics
from barnabee.core.schema import Probe
from barnabee.workers import voice_probe
from barnabee.workers.metrics import ProbeMetrics
from barnabee.workers.voice_probe import Prober, Situation

PLAN = Probe(every_s=300, every_without_card_s=3600, limit_ms=1000)
GOOD = {"stages_ms": {"stt": 500.0, "total": 900.0}, "over_budget": ["stt"]}
BAD = {"stage": "speak", "code": "speech_silent", "message": "its level is -90 dBFS"}


@dataclass
class World:
    """A voice path that a test controls, and the time."""

    result: Result = field(default_factory=lambda: Result(**GOOD))
    situation: Situation = field(default_factory=Situation)
    now_s: float = 1000.0
    asked: int = 0
    broken: bool = False
    metrics: Metrics = field(default_factory=lambda: Metrics("worker"))

    async def ask(self) -> Result:
        self.asked += 1
        if self.broken:
            raise ZeroDivisionError
        return self.result

    async def look(self) -> Situation:
        return self.situation

    def prober(self) -> Prober:
        series = ProbeMetrics.register(self.metrics)
        return Prober(PLAN, self.ask, self.look, series, clock=lambda: self.now_s)

    def value(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"barnabee_probe_{name}", labels)


async def test_before_the_first_probe_nothing_is_known_and_nothing_green() -> None:
    world = World()
    prober = world.prober()

    assert isinstance(await prober.check(), Unknown)
    assert (world.value("success"), world.value("timestamp_seconds")) == (0, 0)


async def test_a_good_probe_is_healthy_and_exported() -> None:
    world = World()
    prober = world.prober()

    assert await prober.step() == 300
    assert await prober.check() is None
    assert (world.value("success"), world.value("timestamp_seconds")) == (1, 1000)
    assert world.value("seconds", stage="stt") == 0.5
    assert world.value("over_budget", stage="stt") == 1
    assert world.value("over_budget", stage="total") == 0


async def test_a_failed_probe_degrades_with_its_code_and_stage_and_is_tried_again_soon() -> None:
    world = World()
    prober = world.prober()
    await prober.step()
    world.result = Result(**BAD)

    pauses = [await prober.step() for _ in range(12)]

    assert pauses[:4] == [2, 4, 8, 16]
    assert pauses[-1] == 300
    found = await prober.check()
    assert isinstance(found, Degraded)
    assert found.code == "speech_silent"
    assert "speak" in found.message
    assert world.value("success") == 0
    assert world.value("failures_total", stage="speak", code="speech_silent") == 12
    assert world.value("seconds", stage="stt") is None  # not what an earlier probe measured
    world.result = Result(**GOOD)
    assert await prober.step() == 300
    assert await prober.check() is None


@pytest.mark.parametrize(("card", "interval_s"), [(True, 300), (False, 3600)])
async def test_a_probe_that_is_too_old_degrades(card: bool, interval_s: int) -> None:
    world = World(situation=Situation(card=card))
    prober = world.prober()
    assert await prober.step() == interval_s

    world.now_s += 3 * interval_s
    assert await prober.check() is None
    world.now_s += 1
    found = await prober.check()
    assert isinstance(found, Degraded)
    assert found.code == "probe_stale"


async def test_it_waits_while_somebody_talks_but_not_for_ever() -> None:
    world = World(situation=Situation(busy=True))
    prober = world.prober()

    assert await prober.step() == voice_probe.BUSY_AGAIN_S
    assert world.asked == 0
    world.now_s += 299
    assert await prober.step() == voice_probe.BUSY_AGAIN_S
    world.now_s += 1
    assert await prober.step() == 300
    assert world.asked == 1
    assert await prober.step() == voice_probe.BUSY_AGAIN_S  # and then it waits anew


async def test_a_mistake_in_the_probe_is_a_failure_and_not_the_end() -> None:
    world = World(broken=True)
    prober = world.prober()
    task = asyncio.create_task(prober.run_for_ever())
    while world.asked == 0:
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    found = await prober.check()
    assert isinstance(found, Degraded)
    assert found.code == "internal"


@pytest.mark.parametrize(
    ("vram", "card", "busy"),
    [
        ({}, True, False),
        ({"card": {"name": "RTX"}, "models": [{"leases": []}], "turns": {}}, True, False),
        ({"card": {"name": "main memory"}, "models": [], "turns": {}}, False, False),
        ({"card": {"name": "RTX"}, "turns": {"t1": "kitchen"}}, True, True),
        ({"card": {"name": "RTX"}, "turns": {"t1": SESSION}}, True, False),
        ({"card": {"name": "RTX"}, "models": [{"leases": [{}]}]}, True, True),
    ],
)
def test_the_inference_service_says_whether_it_has_a_card_and_time(
    vram: dict[str, object], card: bool, busy: bool
) -> None:
    assert Situation.read(vram) == Situation(card=card, busy=busy)
    assert voice_probe.OWN_SESSION == SESSION
