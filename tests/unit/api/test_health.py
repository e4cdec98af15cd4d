from __future__ import annotations

from barnabee.api.health import WORKER_HEARTBEAT, make_checks
from barnabee.core.errors import DatabaseReadOnly, DependencyDown
from barnabee.core.health import Degraded, HealthMonitor, HealthState
from barnabee.core.metrics import Metrics
from barnabee.core.redis_client import RedisClient
from barnabee.workers import jobs
from support.redis import RedisServer
from support.wait import free_port


async def good() -> None:
    return None


async def slow_gpu() -> Degraded | None:
    return Degraded("gpu_degraded", "gpu: no voice")


async def broken_database() -> None:
    raise DatabaseReadOnly(path="x")


async def no_house() -> None:
    raise DependencyDown(dependency="home_assistant", reason="gone")


async def test_with_all_parts_it_is_healthy(redis_server: RedisServer) -> None:
    link = RedisClient(redis_server.url)
    await link.command("SET", WORKER_HEARTBEAT, "alive")
    found = make_checks(database=good, redis=link, gpu=good, optional={"home_assistant": good})
    report = await HealthMonitor("api", found, Metrics("api")).report()
    assert report.state is HealthState.HEALTHY
    assert set(report.results) == {"database", "redis", "gpu", "worker", "home_assistant"}
    await link.aclose()


async def test_everything_but_the_database_can_be_missing() -> None:
    link = RedisClient(f"redis://127.0.0.1:{free_port()}/0")
    found = make_checks(database=good, redis=link, gpu=slow_gpu, optional={"home_assistant": no_house})
    report = await HealthMonitor("api", found, Metrics("api")).report()
    assert report.state is HealthState.DEGRADED
    assert set(report.not_healthy) == {"redis", "gpu", "worker", "home_assistant"}


async def test_a_worker_without_a_heartbeat_is_missing(redis_server: RedisServer) -> None:
    link = RedisClient(redis_server.url)
    found = make_checks(database=good, redis=link, gpu=good, optional={})
    report = await HealthMonitor("api", found, Metrics("api")).report()
    assert (report.state, report.not_healthy) == (HealthState.DEGRADED, ["worker"])
    await link.aclose()


async def test_without_the_database_it_is_unhealthy(redis_server: RedisServer) -> None:
    link = RedisClient(redis_server.url)
    found = make_checks(database=broken_database, redis=link, gpu=good, optional={})
    report = await HealthMonitor("api", found, Metrics("api")).report()
    assert report.state is HealthState.UNHEALTHY
    assert report.results["database"].code == "database_read_only"
    await link.aclose()


def test_the_heartbeat_is_the_one_the_worker_writes() -> None:
    assert jobs.HEARTBEAT == WORKER_HEARTBEAT
