"""Health cascade: state, reason and start time of every service."""

from __future__ import annotations

import httpx

from barnabee.api.cascade import Cascade, HealthSources
from barnabee.clients.service_client import ServiceClient
from barnabee.core import system
from barnabee.core.health import Degraded, HealthCheck, HealthMonitor, HealthState
from barnabee.core.metrics import Metrics
from barnabee.core.redis_client import RedisClient
from support.clock import FakeClock
from support.redis import RedisServer


class FakeServiceGraph:
    """Services with scripted health responses, and the cascade under test."""

    def __init__(self, redis_url: str) -> None:
        self.responses: dict[str, httpx.Response] = {}
        self.clock = FakeClock()
        graph = system.load_system()
        clients = {
            name: ServiceClient(
                name, f"http://{name}", "token", transport=httpx.MockTransport(self._respond)
            )
            for name, one in graph.service.items()
            if one.probe == "http" and name != "api"
        }
        self.degraded: Degraded | None = None

        async def probe() -> Degraded | None:
            return self.degraded

        own = HealthMonitor("api", [HealthCheck("home", probe, hard=False)], Metrics("api"))
        self.cascade = Cascade(
            graph, HealthSources(own, RedisClient(redis_url), clients), self.clock
        )

    def _respond(self, request: httpx.Request) -> httpx.Response:
        response = self.responses.get(request.url.host)
        if response is None:
            raise httpx.ConnectError("refused")
        return response


def report(status: str, **states: str) -> httpx.Response:
    dependencies = {
        name: {"status": state, "hard": True, "code": "loading", "message": f"{name} loads"}
        for name, state in states.items()
    }
    body = {"status": status, "dependencies": dependencies}
    return httpx.Response(200 if status == "healthy" else 503, json=body)


async def test_every_service_is_checked_and_unreachable_ones_are_unhealthy(
    redis_server: RedisServer,
) -> None:
    services = FakeServiceGraph(redis_server.url)
    services.responses = {
        "gpu": report("healthy", stt="healthy"),
        "litestream": httpx.Response(200, text="metric 1"),
        "worker": httpx.Response(500, text="no"),
    }
    healths = await services.cascade.check()
    assert set(healths) >= {"redis", "litestream", "gpu", "api", "voice", "worker"}
    states = {name: health.itself.state for name, health in healths.items()}
    assert states["gpu"] == states["redis"] == states["litestream"] == HealthState.HEALTHY
    assert states["worker"] == states["voice"] == HealthState.UNHEALTHY
    assert "refused" in (healths["voice"].itself.message or "")
    redis_server.kill()
    healths = await services.cascade.check()
    assert healths["redis"].itself.state == HealthState.UNHEALTHY


async def test_start_time_changes_with_each_state(redis_server: RedisServer) -> None:
    services = FakeServiceGraph(redis_server.url)
    services.responses["gpu"] = report("healthy", stt="healthy")
    for seconds, status, expected in (
        (1000, "healthy", 1000),
        (1010, "healthy", 1000),
        (1020, "unhealthy", 1020),
        (1030, "unhealthy", 1020),
        (1040, "healthy", 1040),
    ):
        services.clock.now_s = seconds
        services.responses["gpu"] = report(status, stt=status)
        health = (await services.cascade.check())["gpu"]
        assert (health.itself.since_s, health.dependencies["stt"].since_s) == (expected, expected)


async def test_unconfigured_dependency_does_not_count_as_bad(redis_server: RedisServer) -> None:
    services = FakeServiceGraph(redis_server.url)
    services.degraded = Degraded("not_configured", "no home")
    health = (await services.cascade.check())["api"]
    assert health.itself.state == HealthState.DEGRADED
    assert health.is_fully_working
