"""The cascade: soft and hard needs, time limits, and that unknown is never green."""

from __future__ import annotations

import asyncio
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barnabee.core.errors import DependencyDown
from barnabee.core.health import Check, Degraded, Finding, Health, State, Unknown, combine
from barnabee.core.metrics import Metrics


async def fine() -> None:
    return None


async def half() -> Degraded:
    return Degraded("slow", "it answers slowly")


async def down() -> None:
    raise DependencyDown(dependency="redis", reason="connection refused")


async def hangs() -> None:
    await asyncio.Event().wait()


def health(*checks: Check) -> tuple[Health, Metrics]:
    metrics = Metrics("api")
    return Health("api", checks, metrics), metrics


def gauge(metrics: Metrics, dependency: str) -> float | None:
    name = f"barnabee_health_check_{dependency}"
    return metrics.registry.get_sample_value(name, {"component": "api"})


FINDINGS = st.lists(
    st.builds(Finding, state=st.sampled_from(State), hard=st.booleans(), latency_ms=st.just(1.0))
)


@given(FINDINGS)
def test_green_means_every_single_dependency_is_healthy(findings: list[Finding]) -> None:
    assert (combine(findings) is State.HEALTHY) == all(
        found.state is State.HEALTHY for found in findings
    )


@given(FINDINGS)
def test_a_hard_dependency_that_is_down_always_makes_it_unhealthy(findings: list[Finding]) -> None:
    hard_down = any(found.hard and found.state is State.UNHEALTHY for found in findings)
    assert (combine(findings) is State.UNHEALTHY) == hard_down


@given(FINDINGS, st.randoms(use_true_random=False))
def test_the_order_of_checks_does_not_matter(findings: list[Finding], random: object) -> None:
    shuffled = findings[:]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert combine(shuffled) == combine(findings)


@pytest.mark.parametrize(
    ("probe", "hard", "state", "code"),
    [
        (fine, True, State.HEALTHY, None),
        (half, True, State.DEGRADED, "slow"),
        (down, True, State.UNHEALTHY, "dependency_down"),
        (down, False, State.DEGRADED, "dependency_down"),
        (hangs, True, State.UNHEALTHY, "timed_out"),
    ],
)
async def test_a_dependency_makes_the_service(
    probe: object, *, hard: bool, state: State, code: str | None
) -> None:
    subject, _ = health(Check("redis", probe, hard, timeout_s=0.05))  # type: ignore[arg-type]
    report = await subject.report()
    assert (report.state, report.findings["redis"].code) == (state, code)


async def test_before_the_first_look_nothing_is_green() -> None:
    subject, metrics = health(Check("redis", fine, hard=True))
    assert not subject.last.ready
    assert gauge(metrics, "redis") == -1


async def test_checks_run_at_the_same_time() -> None:
    subject, _ = health(*(Check(f"c{n}", hangs, hard=False, timeout_s=0.2) for n in range(10)))
    begun = time.perf_counter()
    await subject.report()
    assert time.perf_counter() - begun < 1


async def test_many_askers_share_one_look() -> None:
    looks = 0

    async def counted() -> None:
        nonlocal looks
        looks += 1

    subject, _ = health(Check("redis", counted, hard=True))
    await asyncio.gather(*(subject.report(max_age_s=60) for _ in range(50)))
    assert looks == 1


async def test_the_gauges_follow_the_findings() -> None:
    subject, metrics = health(Check("redis", down, hard=False), Check("gpu", fine, hard=True))
    await subject.report()
    assert (gauge(metrics, "redis"), gauge(metrics, "gpu"), gauge(metrics, "self")) == (0, 1, 0.5)


async def test_what_nobody_has_looked_at_is_unknown_and_never_green() -> None:
    async def not_yet() -> Unknown:
        return Unknown("not_probed", "nobody has looked")

    looks, metrics = health(Check("voice_path", not_yet, hard=False))
    report = await looks.report()
    assert report.state is State.DEGRADED
    assert report.findings["voice_path"].state is State.UNKNOWN
    assert report.findings["voice_path"].code == "not_probed"
    assert gauge(metrics, "voice_path") == -1
