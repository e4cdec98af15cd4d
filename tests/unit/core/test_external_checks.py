"""What is outside the house is asked now and then, and told in its own words while it is away."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
from prometheus_client import CollectorRegistry

from barnabee.core.errors import DependencyDown
from barnabee.core.external_checks import Away, Watched, gauge_of, pause_s, watched
from barnabee.core.health import Check, Degraded, Health, State, Unknown
from barnabee.core.metrics import Metrics
from barnabee.core.schema import External
from support.wait import eventually

RULE = External(words="The cloud is away", timeout_ms=1000, every_s=60, away_most_s=8)
LABELS = {"dependency": "cloud"}


class World:
    """A dependency that the test controls, and a clock."""

    def __init__(self, rule: External = RULE) -> None:
        self.now_s = 0.0
        self.asked = 0
        self.trouble: Exception | None = None
        self.hangs = False
        self.metrics = Metrics("api")
        gauge = gauge_of(self.metrics)
        self.watched = Watched("cloud", rule, self.probe, gauge, lambda: self.now_s)

    async def probe(self) -> Degraded | Unknown | None:
        self.asked += 1
        if self.hangs:
            await asyncio.Event().wait()
        if self.trouble:
            raise self.trouble
        return None

    @property
    def registry(self) -> CollectorRegistry:
        return self.metrics.registry

    def up(self) -> float | None:
        return self.registry.get_sample_value("barnabee_external_up", LABELS)


async def test_it_is_asked_once_in_its_interval_however_often_health_is() -> None:
    world = World()
    assert world.up() is None
    for _ in range(5):
        assert await world.watched.check() is None
    assert (world.asked, world.up()) == (1, 1.0)
    world.now_s = 60.0
    await world.watched.check()
    assert world.asked == 2


async def test_away_has_its_words_its_reason_and_its_gauge_and_comes_back() -> None:
    world = World()
    world.trouble = DependencyDown(dependency="x", reason="status 503")
    with pytest.raises(Away, match=r"^The cloud is away \(status 503\)\.$") as caught:
        await world.watched.check()
    assert (caught.value.code, world.up()) == ("dependency_down", 0.0)
    world.trouble = None
    with pytest.raises(Away):  # not asked again so soon
        await world.watched.check()
    world.now_s = 1.0
    assert await world.watched.check() is None
    assert (world.asked, world.up()) == (2, 1.0)


def test_pauses_double_up_to_the_limit() -> None:
    assert [pause_s(RULE, failures) for failures in (0, 1, 2, 3, 4, 5, 99)] == [
        60, 1, 2, 4, 8, 8, 8,
    ]  # fmt: skip


async def test_one_that_hangs_holds_no_health_check_and_is_away_in_the_end() -> None:
    world = World(RULE.model_copy(update={"timeout_ms": 400}))
    world.hangs = True
    found = await world.watched.check()
    assert isinstance(found, Unknown)

    async def away() -> bool:
        with suppress(Away):
            return await world.watched.check() is None
        return True

    await eventually(away, within_s=10)
    with pytest.raises(Away, match="no answer within 400 ms"):
        await world.watched.check()
    assert world.asked == 1


async def test_any_failure_of_the_look_is_told_and_breaks_nothing() -> None:
    world = World()
    world.trouble = OSError("no route")
    with pytest.raises(Away, match="no route"):
        await world.watched.check()


async def test_in_the_health_tree_it_degrades_and_never_more() -> None:
    metrics = Metrics("api")

    async def gone() -> None:
        raise DependencyDown(dependency="cloud", reason="gone")

    probes = watched({"cloud": RULE, "mail": RULE}, {"cloud": gone}, metrics)
    assert set(probes) == {"cloud"}  # mail is not configured: not shown at all
    checks = [Check(name, probe, hard=False) for name, probe in probes.items()]
    report = await Health("api", checks, metrics).report()
    assert report.state is State.DEGRADED
    assert report.findings["cloud"].message == "The cloud is away (gone)."
