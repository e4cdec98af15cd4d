from __future__ import annotations

from typing import Any

import pytest

from barnabee.core.health import State
from barnabee.core.schema import Service
from barnabee.up import probe
from support.redis import RedisServer
from support.wait import free_port

OK = {"status": "healthy"}
OFF = {"status": "unhealthy", "code": "not_configured", "message": "no key"}
DOWN = {"status": "unhealthy", "code": "dependency_down", "message": "gone"}


@pytest.mark.parametrize(
    ("status", "body", "state", "good"),
    [
        (200, {"status": "healthy", "dependencies": {"a": OK}}, State.HEALTHY, True),
        (200, {"status": "degraded", "dependencies": {"a": DOWN}}, State.DEGRADED, False),
        (200, {"status": "degraded", "dependencies": {"a": OK, "b": OFF}}, State.DEGRADED, True),
        (200, {"status": "degraded", "dependencies": {"a": DOWN, "b": OFF}}, State.DEGRADED, False),
        (200, {"status": "degraded"}, State.DEGRADED, False),
        (503, {"status": "unhealthy", "dependencies": {"a": OFF}}, State.UNHEALTHY, False),
        (503, {"status": "healthy"}, State.UNHEALTHY, False),
        (200, {"status": "splendid"}, State.UNKNOWN, False),
        (503, {"status": "unknown"}, State.UNKNOWN, False),
        (200, None, State.HEALTHY, True),
        (404, None, State.UNHEALTHY, False),
        (200, ["status"], State.HEALTHY, True),
    ],
)
def test_an_answer_is_read_strictly(status: int, body: Any, state: State, good: bool) -> None:
    look = probe.read_answer(status, body)
    assert (look.state, look.good, look.answers) == (state, good, True)


def test_a_look_says_what_is_lacking() -> None:
    body = {"status": "degraded", "dependencies": {"gpu": DOWN, "redis": OK}}
    assert probe.read_answer(200, body).message == "gpu: gone"


def service(kind: str, port: int) -> Service:
    return Service.model_validate(
        {
            "summary": "a node",
            "role": "core",
            "probe": kind,
            "port": port,
            "startup_budget_s": 10,
            "memory_max_mib": 64,
        }
    )


@pytest.mark.parametrize("kind", ["http", "tcp", "redis", "home_assistant"])
async def test_nobody_there_is_unhealthy_and_silent(kind: str) -> None:
    prober = probe.Prober()
    look = await prober.look(service(kind, free_port()))
    await prober.aclose()
    assert (look.answers, look.state) == (False, State.UNHEALTHY)


async def test_a_real_redis_answers(redis_server: RedisServer) -> None:
    prober = probe.Prober()
    assert await prober.look(service("redis", redis_server.port)) == probe.HEALTHY
    assert await prober.look(service("tcp", redis_server.port)) == probe.HEALTHY
    assert not (await prober.look(service("http", redis_server.port))).ready
