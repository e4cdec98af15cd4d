from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from barnabee.core.health import HealthState
from barnabee.core.schema import ServiceConfig
from barnabee.up import probe
from support.redis import RedisServer
from support.wait import find_free_port

OK = {"status": "healthy"}
OFF = {"status": "unhealthy", "code": "not_configured", "message": "no key"}
DOWN = {"status": "unhealthy", "code": "dependency_down", "message": "gone"}


@pytest.mark.parametrize(
    ("status", "body", "state", "is_ok"),
    [
        (200, {"status": "healthy", "dependencies": {"a": OK}}, HealthState.HEALTHY, True),
        (200, {"status": "degraded", "dependencies": {"a": DOWN}}, HealthState.DEGRADED, False),
        (
            200,
            {"status": "degraded", "dependencies": {"a": OK, "b": OFF}},
            HealthState.DEGRADED,
            True,
        ),
        (
            200,
            {"status": "degraded", "dependencies": {"a": DOWN, "b": OFF}},
            HealthState.DEGRADED,
            False,
        ),
        (200, {"status": "degraded"}, HealthState.DEGRADED, False),
        (503, {"status": "unhealthy", "dependencies": {"a": OFF}}, HealthState.UNHEALTHY, False),
        (503, {"status": "healthy"}, HealthState.UNHEALTHY, False),
        (200, {"status": "splendid"}, HealthState.UNKNOWN, False),
        (503, {"status": "unknown"}, HealthState.UNKNOWN, False),
        (200, None, HealthState.HEALTHY, True),
        (404, None, HealthState.UNHEALTHY, False),
        (200, ["status"], HealthState.HEALTHY, True),
    ],
)
def test_responses_are_parsed_strictly(
    status: int, body: Any, state: HealthState, is_ok: bool
) -> None:
    result = probe.parse_response(status, body)
    assert (result.state, result.is_ok, result.is_responding) == (state, is_ok, True)


def test_the_message_names_unhealthy_dependencies() -> None:
    body = {"status": "degraded", "dependencies": {"gpu": DOWN, "redis": OK}}
    assert probe.parse_response(200, body).message == "gpu: gone"


def service(kind: str, port: int) -> ServiceConfig:
    return ServiceConfig.model_validate(
        {
            "summary": "a node",
            "role": "core",
            "probe": kind,
            "port": port,
            "startup_budget_s": 10,
            "memory_max_mib": 64,
        }
    )


@pytest.mark.parametrize("kind", ["http", "s3", "redis", "home_assistant"])
async def test_a_closed_port_is_unhealthy_and_not_responding(kind: str) -> None:
    prober = probe.NodeProber()
    result = await prober.probe(service(kind, find_free_port()))
    await prober.aclose()
    assert (result.is_responding, result.state) == (False, HealthState.UNHEALTHY)


async def test_a_real_redis_is_healthy(redis_server: RedisServer) -> None:
    prober = probe.NodeProber()
    assert await prober.probe(service("redis", redis_server.port)) == probe.HEALTHY
    assert not (await prober.probe(service("http", redis_server.port))).is_ready


@asynccontextmanager
async def http_server(status: int | None) -> AsyncIterator[tuple[int, list[bytes]]]:
    """Yield the port of a server, and the first line of the request of each connection.

    It answers every request with `status` and keeps connections open, or never with None.
    """
    requests: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(await reader.readline())
        while status is not None:
            while (await reader.readline()).strip():
                pass
            writer.write(b"HTTP/1.1 %d Text\r\nContent-Length: 0\r\n\r\n" % status)
            if not await reader.readline():
                break
        await asyncio.Event().wait()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    tasks = asyncio.all_tasks()
    yield server.sockets[0].getsockname()[1], requests
    server.close()
    for task in asyncio.all_tasks() - tasks:
        task.cancel()


@pytest.mark.parametrize("kind", ["http", "s3"])
async def test_every_probe_uses_a_new_connection(kind: str) -> None:
    prober = probe.NodeProber()
    async with http_server(200) as (port, requests):
        for _ in range(3):
            assert await prober.probe(service(kind, port)) == probe.HEALTHY
    await prober.aclose()
    assert len(requests) == 3


async def test_an_s3_server_that_refuses_an_unsigned_request_is_healthy() -> None:
    prober = probe.NodeProber()
    async with http_server(403) as (port, _):
        assert await prober.probe(service("s3", port)) == probe.HEALTHY
    async with http_server(500) as (port, _):
        result = await prober.probe(service("s3", port))
        assert (result.state, result.is_silent) == (HealthState.UNHEALTHY, False)
    await prober.aclose()


@pytest.mark.parametrize("kind", ["http", "s3", "redis"])
async def test_a_server_that_accepts_connections_but_never_answers_is_silent(kind: str) -> None:
    prober = probe.NodeProber()
    async with http_server(None) as (port, requests):
        result = await prober.probe(service(kind, port))
    await prober.aclose()
    assert (result.is_responding, result.is_silent) == (False, True)
    assert len(requests) == 2
