"""The cascade: everybody asked, why and since when."""

from __future__ import annotations

import httpx

from barnabee.api.cascade import Cascade, HealthSources
from barnabee.clients.service_client import ServiceClient
from barnabee.core import system
from barnabee.core.health import Degraded, HealthCheck, HealthMonitor, HealthState
from barnabee.core.metrics import Metrics
from barnabee.core.redis_client import RedisClient
from support.redis import RedisServer


class World:
    """Services that answer as told, and a clock."""

    def __init__(self, redis_url: str) -> None:
        self.answers: dict[str, httpx.Response] = {}
        self.now_s = 1000.0
        graph = system.load_system()
        neighbours = {
            name: ServiceClient(
                name, f"http://{name}", "token", transport=httpx.MockTransport(self._answer)
            )
            for name, one in graph.service.items()
            if one.probe == "http" and name != "api"
        }
        self.degraded: Degraded | None = None

        async def probe() -> Degraded | None:
            return self.degraded

        own = HealthMonitor("api", [HealthCheck("home", probe, hard=False)], Metrics("api"))
        self.cascade = Cascade(
            graph, HealthSources(own, RedisClient(redis_url), neighbours), lambda: self.now_s
        )

    def _answer(self, request: httpx.Request) -> httpx.Response:
        found = self.answers.get(request.url.host)
        if found is None:
            raise httpx.ConnectError("refused")
        return found


def report(status: str, **needs: str) -> httpx.Response:
    dependencies = {
        name: {"status": state, "hard": True, "code": "loading", "message": f"{name} loads"}
        for name, state in needs.items()
    }
    body = {"status": status, "dependencies": dependencies}
    return httpx.Response(200 if status == "healthy" else 503, json=body)


async def test_everybody_is_asked_and_who_is_silent_is_named(redis_server: RedisServer) -> None:
    world = World(redis_server.url)
    world.answers = {
        "gpu": report("healthy", stt="healthy"),
        "litestream": httpx.Response(200, text="metric 1"),
        "worker": httpx.Response(500, text="no"),
    }
    nodes = await world.cascade.look()
    assert set(nodes) == {"redis", "litestream", "gpu", "api", "voice", "worker"}
    found = {name: node.itself.state for name, node in nodes.items()}
    assert found["gpu"] == found["redis"] == found["litestream"] == HealthState.HEALTHY
    assert found["worker"] == found["voice"] == HealthState.UNHEALTHY
    assert "refused" in (nodes["voice"].itself.message or "")
    redis_server.kill()
    nodes = await world.cascade.look()
    assert nodes["redis"].itself.state == HealthState.UNHEALTHY


async def test_since_when_begins_anew_with_each_state(redis_server: RedisServer) -> None:
    world = World(redis_server.url)
    world.answers["gpu"] = report("healthy", stt="healthy")
    for seconds, status, expected in (
        (1000, "healthy", 1000),
        (1010, "healthy", 1000),
        (1020, "unhealthy", 1020),
        (1030, "unhealthy", 1020),
        (1040, "healthy", 1040),
    ):
        world.now_s = seconds
        world.answers["gpu"] = report(status, stt=status)
        node = (await world.cascade.look())["gpu"]
        assert (node.itself.since_s, node.needs["stt"].since_s) == (expected, expected)


async def test_what_nobody_configured_leaves_a_service_good(redis_server: RedisServer) -> None:
    world = World(redis_server.url)
    world.degraded = Degraded("not_configured", "no home")
    node = (await world.cascade.look())["api"]
    assert node.itself.state == HealthState.DEGRADED
    assert node.good
