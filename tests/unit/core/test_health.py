"""Health checks: hard and soft dependencies, timeouts, and that unknown is never healthy."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barnabee.core.errors import DependencyDown
from barnabee.core.health import (
    CheckResult,
    Degraded,
    HealthCheck,
    HealthMonitor,
    HealthState,
    Unknown,
    combine_states,
)
from barnabee.core.metrics import Metrics


async def fine() -> None:
    return None


async def half() -> Degraded:
    return Degraded("slow", "it answers slowly")


async def down() -> None:
    raise DependencyDown(dependency="redis", reason="connection refused")


async def hangs() -> None:
    await asyncio.Event().wait()


def health(*checks: HealthCheck) -> tuple[HealthMonitor, Metrics]:
    metrics = Metrics("api")
    return HealthMonitor("api", checks, metrics), metrics


def gauge(metrics: Metrics, dependency: str) -> float | None:
    name = f"barnabee_health_check_{dependency}"
    return metrics.registry.get_sample_value(name, {"component": "api"})


RESULTS = st.lists(
    st.builds(
        CheckResult, state=st.sampled_from(HealthState), hard=st.booleans(), latency_ms=st.just(1.0)
    )
)


@given(RESULTS)
def test_healthy_means_that_every_dependency_is_healthy(results: list[CheckResult]) -> None:
    assert (combine_states(results) is HealthState.HEALTHY) == all(
        result.state is HealthState.HEALTHY for result in results
    )


@given(RESULTS)
def test_a_hard_dependency_that_is_down_makes_the_service_unhealthy(
    results: list[CheckResult],
) -> None:
    hard_down = any(result.hard and result.state is HealthState.UNHEALTHY for result in results)
    assert (combine_states(results) is HealthState.UNHEALTHY) == hard_down


@given(RESULTS, st.randoms(use_true_random=False))
def test_the_order_of_checks_does_not_matter(results: list[CheckResult], random: object) -> None:
    shuffled = results[:]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert combine_states(shuffled) == combine_states(results)


@pytest.mark.parametrize(
    ("probe", "hard", "state", "code"),
    [
        (fine, True, HealthState.HEALTHY, None),
        (half, True, HealthState.DEGRADED, "slow"),
        (down, True, HealthState.UNHEALTHY, "dependency_down"),
        (down, False, HealthState.DEGRADED, "dependency_down"),
        (hangs, True, HealthState.UNHEALTHY, "timed_out"),
    ],
)
async def test_the_state_follows_from_the_dependency(
    probe: object, *, hard: bool, state: HealthState, code: str | None
) -> None:
    subject, _ = health(HealthCheck("redis", probe, hard, timeout_s=0.05))  # type: ignore[arg-type]
    report = await subject.report()
    assert (report.state, report.results["redis"].code) == (state, code)


async def test_before_the_first_check_nothing_is_ready() -> None:
    subject, metrics = health(HealthCheck("redis", fine, hard=True))
    assert not subject.last_report.is_ready
    assert gauge(metrics, "redis") == -1


async def test_checks_run_concurrently() -> None:
    barrier = asyncio.Barrier(10)

    async def wait_for_all() -> None:
        await barrier.wait()

    checks = (HealthCheck(f"c{n}", wait_for_all, hard=False, timeout_s=30) for n in range(10))
    subject, _ = health(*checks)
    assert (await subject.report()).state is HealthState.HEALTHY


async def test_concurrent_callers_share_one_check() -> None:
    probes = 0

    async def count() -> None:
        nonlocal probes
        probes += 1

    subject, _ = health(HealthCheck("redis", count, hard=True))
    await asyncio.gather(*(subject.report(max_age_s=60) for _ in range(50)))
    assert probes == 1


async def test_the_gauges_follow_the_results() -> None:
    subject, metrics = health(
        HealthCheck("redis", down, hard=False), HealthCheck("gpu", fine, hard=True)
    )
    await subject.report()
    assert (gauge(metrics, "redis"), gauge(metrics, "gpu"), gauge(metrics, "self")) == (0, 1, 0.5)


async def test_an_unchecked_dependency_is_unknown_and_never_healthy() -> None:
    async def not_yet() -> Unknown:
        return Unknown("not_probed", "not probed yet")

    subject, metrics = health(HealthCheck("voice_path", not_yet, hard=False))
    report = await subject.report()
    assert report.state is HealthState.DEGRADED
    assert report.results["voice_path"].state is HealthState.UNKNOWN
    assert report.results["voice_path"].code == "not_probed"
    assert gauge(metrics, "voice_path") == -1
