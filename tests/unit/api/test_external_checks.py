"""Health checks of external services: interval, back-off, message and gauge."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
from prometheus_client import CollectorRegistry

from barnabee.api import health
from barnabee.api.health import (
    ExternalCheck,
    ExternalServiceDown,
    make_external_gauge,
    make_probes,
    next_check_delay_s,
)
from barnabee.core.errors import DependencyDown
from barnabee.core.health import Degraded, HealthCheck, HealthMonitor, HealthState, Unknown
from barnabee.core.metrics import Metrics
from barnabee.core.schema import ExternalConfig
from support.clock import FakeClock
from support.wait import eventually

CONFIG = ExternalConfig(message="The cloud is down", timeout_ms=1000, every_s=60, backoff_max_s=8)
LABELS = {"dependency": "cloud"}


class FakeService:
    """An external service and a clock that the test controls."""

    def __init__(self, config: ExternalConfig = CONFIG) -> None:
        self.clock = FakeClock(0)
        self.probes = 0
        self.error: Exception | None = None
        self.hangs = False
        self.metrics = Metrics("api")
        gauge = make_external_gauge(self.metrics)
        self.check = ExternalCheck("cloud", config, self.probe, gauge, self.clock).check

    async def probe(self) -> Degraded | Unknown | None:
        self.probes += 1
        if self.hangs:
            await asyncio.Event().wait()
        if self.error:
            raise self.error
        return None

    @property
    def registry(self) -> CollectorRegistry:
        return self.metrics.registry

    def up(self) -> float | None:
        return self.registry.get_sample_value("barnabee_external_up", LABELS)


async def test_a_service_is_probed_once_per_interval() -> None:
    service = FakeService()
    assert service.up() is None
    for _ in range(5):
        assert await service.check() is None
    assert (service.probes, service.up()) == (1, 1.0)
    service.clock.now_s = 60.0
    await service.check()
    assert service.probes == 2


async def test_a_failure_has_message_reason_and_gauge_and_recovers() -> None:
    service = FakeService()
    service.error = DependencyDown(dependency="x", reason="status 503")
    with pytest.raises(
        ExternalServiceDown, match=r"^The cloud is down \(status 503\)\.$"
    ) as caught:
        await service.check()
    assert (caught.value.code, service.up()) == ("dependency_down", 0.0)
    service.error = None
    with pytest.raises(ExternalServiceDown):  # before the back-off has passed
        await service.check()
    service.clock.now_s = 1.0
    assert await service.check() is None
    assert (service.probes, service.up()) == (2, 1.0)


def test_the_delay_doubles_up_to_the_limit() -> None:
    assert [next_check_delay_s(CONFIG, failures) for failures in (0, 1, 2, 3, 4, 5, 99)] == [
        60, 1, 2, 4, 8, 8, 8,
    ]  # fmt: skip


async def test_a_hanging_probe_does_not_block_the_report_and_times_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(health, "_WAIT_S", 0)
    service = FakeService(CONFIG.model_copy(update={"timeout_ms": 400}))
    service.hangs = True
    found = await service.check()
    assert isinstance(found, Unknown)

    async def is_down() -> bool:
        with suppress(ExternalServiceDown):
            return await service.check() is None
        return True

    await eventually(is_down)
    with pytest.raises(ExternalServiceDown, match="no answer within 400 ms"):
        await service.check()
    assert service.probes == 1


async def test_an_os_error_of_the_probe_is_reported() -> None:
    service = FakeService()
    service.error = OSError("no route")
    with pytest.raises(ExternalServiceDown, match="no route"):
        await service.check()


async def test_a_failing_external_service_only_degrades_health() -> None:
    metrics = Metrics("api")

    async def fail() -> None:
        raise DependencyDown(dependency="cloud", reason="gone")

    probes = make_probes({"cloud": CONFIG, "mail": CONFIG}, {"cloud": fail}, metrics)
    assert set(probes) == {"cloud"}  # mail is not configured
    checks = [HealthCheck(name, probe, hard=False) for name, probe in probes.items()]
    report = await HealthMonitor("api", checks, metrics).report()
    assert report.state is HealthState.DEGRADED
    assert report.results["cloud"].message == "The cloud is down (gone)."
