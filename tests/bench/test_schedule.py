"""Lateness of timers: many at once, many due in one second, with every part killed before.

The time is that at which the first sound of a ring is handed to a room's loudspeaker, by the clock
of the voice service.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from pathlib import Path
from statistics import median

import pytest

from support.benchmark import choose_size, is_at_most
from support.ring_deployment import RingDeployment, now_plus, run_ring_deployment

pytestmark = pytest.mark.timeout(900)

TIMERS = choose_size(200, 20)
TOGETHER = choose_size(50, 5)
RESTARTS_S = choose_size(45, 15)
SPREAD_S = choose_size(60, 5)
LATE_S = 1.0


@pytest.fixture
async def deployment(tmp_path: Path) -> AsyncIterator[RingDeployment]:
    async with run_ring_deployment(tmp_path, ["kitchen", "attic", "bath", "study"]) as running:
        yield running


def report(what: str, lateness_s: Mapping[str, float]) -> float:
    """Print the figures and return the 99th percentile in s."""
    ranked = sorted(lateness_s.values())
    p99_s = ranked[-(-len(ranked) * 99 // 100) - 1]
    figures = f"p50 {median(ranked):.3f} s, p99 {p99_s:.3f} s, max {ranked[-1]:.3f} s"
    print(f"{what}: {len(ranked)} timers, late {figures}")
    return p99_s


async def restart_all(deployment: RingDeployment) -> None:
    for restart in (deployment.restart_worker, deployment.restart_redis, deployment.restart_voice):
        await restart()
    await deployment.wait_until_up()


async def test_timers_ring_in_time_after_every_part_was_killed(deployment: RingDeployment) -> None:
    begin = now_plus(RESTARTS_S)
    together = await deployment.set_timers(TOGETHER, begin, within=timedelta(seconds=1))
    spread = await deployment.set_timers(
        TIMERS - TOGETHER, begin + timedelta(seconds=2), within=timedelta(seconds=SPREAD_S)
    )
    await restart_all(deployment)
    print(f"all parts were up {(begin - now_plus(0)).total_seconds():.1f} s before the first timer")
    lateness_s = await deployment.wait_until_rung([*together, *spread])
    assert set(deployment.count_rings().values()) == {1}
    p99_s = report("in one second", {name: lateness_s[name] for name in together})
    assert is_at_most(max(p99_s, report("all", lateness_s)), LATE_S)


async def test_timers_that_are_due_while_a_part_is_down_ring_once(
    deployment: RingDeployment,
) -> None:
    timers = await deployment.set_timers(TOGETHER, now_plus(1), within=timedelta(seconds=10))
    await restart_all(deployment)
    report("while the parts were killed", await deployment.wait_until_rung(timers))
    assert deployment.count_rings().keys() <= set(timers)
    assert set(deployment.count_rings().values()) <= {1}
