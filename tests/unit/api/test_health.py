from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from barnabee.api import health
from barnabee.api.health import WORKER_HEARTBEAT, ExternalServiceDown, make_checks
from barnabee.core import system
from barnabee.core.errors import DatabaseReadOnly, DependencyDown, SettingInvalid
from barnabee.core.health import Degraded, HealthMonitor, HealthState
from barnabee.core.metrics import Metrics
from barnabee.core.redis_client import RedisClient
from barnabee.core.settings import Settings
from barnabee.workers import jobs
from support.fake_llm import FakeLanguageModel
from support.redis import RedisServer
from support.wait import find_free_port, wait_until

GRAPH = system.load_system(Path(__file__).resolve().parents[3] / "system.toml")


async def check_ok() -> None:
    return None


async def check_degraded_gpu() -> Degraded | None:
    return Degraded("gpu_degraded", "gpu: TTS does not work")


async def check_broken_database() -> None:
    raise DatabaseReadOnly(path="x")


async def check_missing_home() -> None:
    raise DependencyDown(dependency="home_assistant", reason="gone")


async def test_healthy_with_all_dependencies(redis_server: RedisServer) -> None:
    redis = RedisClient(redis_server.url)
    await redis.set(WORKER_HEARTBEAT, "alive")
    checks = make_checks(
        database=check_ok, redis=redis, gpu=check_ok, optional={"home_assistant": check_ok}
    )
    report = await HealthMonitor("api", checks, Metrics("api")).report()
    assert report.state is HealthState.HEALTHY
    assert set(report.results) == {"database", "redis", "gpu", "worker", "home_assistant"}
    await redis.aclose()


async def test_degraded_without_optional_dependencies() -> None:
    redis = RedisClient(f"redis://127.0.0.1:{find_free_port()}/0")
    checks = make_checks(
        database=check_ok,
        redis=redis,
        gpu=check_degraded_gpu,
        optional={"home_assistant": check_missing_home},
    )
    report = await HealthMonitor("api", checks, Metrics("api")).report()
    assert report.state is HealthState.DEGRADED
    assert set(report.not_healthy) == {"redis", "gpu", "worker", "home_assistant"}


async def test_worker_without_heartbeat_is_unhealthy(redis_server: RedisServer) -> None:
    redis = RedisClient(redis_server.url)
    checks = make_checks(database=check_ok, redis=redis, gpu=check_ok, optional={})
    report = await HealthMonitor("api", checks, Metrics("api")).report()
    assert (report.state, report.not_healthy) == (HealthState.DEGRADED, ["worker"])
    await redis.aclose()


async def test_unhealthy_without_the_database(redis_server: RedisServer) -> None:
    redis = RedisClient(redis_server.url)
    checks = make_checks(database=check_broken_database, redis=redis, gpu=check_ok, optional={})
    report = await HealthMonitor("api", checks, Metrics("api")).report()
    assert report.state is HealthState.UNHEALTHY
    assert report.results["database"].code == "database_read_only"
    await redis.aclose()


def test_heartbeat_key_matches_the_worker() -> None:
    assert jobs.HEARTBEAT == WORKER_HEARTBEAT


def make_settings(**values: str) -> Settings:
    return Settings.model_validate(values)


def test_unconfigured_services_have_no_check() -> None:
    assert health.make_external_probes(GRAPH, make_settings(), Metrics("api"), None, None) == {}


def test_configured_services_are_checked_under_their_names() -> None:
    settings = make_settings(
        ALERT_MAIL_SMARTHOST="smtp.gmail.com:587",
        AZURE_COMMUNICATION_ENDPOINT="https://home.communication.azure.com",
    )
    probes = health.make_external_probes(GRAPH, settings, Metrics("api"), None, FakeLanguageModel())
    assert set(probes) == {"llm", "smtp", "azure_communication"}
    assert set(probes) <= set(GRAPH.external)


async def test_each_failure_has_its_own_message() -> None:
    metrics = Metrics("api")
    model = FakeLanguageModel(error=DependencyDown(dependency="llm", reason="it answered 401"))
    settings = make_settings(ALERT_MAIL_SMARTHOST=f"127.0.0.1:{find_free_port()}")
    probes = health.make_external_probes(GRAPH, settings, metrics, None, model)
    with pytest.raises(
        ExternalServiceDown,
        match=r"language model does not answer; everything else works \(it answered 401\)",
    ):
        await probes["llm"]()
    with pytest.raises(ExternalServiceDown, match="the mail server does not answer"):
        await probes["smtp"]()
    for name in probes:
        assert metrics.registry.get_sample_value("barnabee_external_up", {"dependency": name}) == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ALERT_MAIL_SMARTHOST", "smtp.gmail.com"),
        ("AZURE_COMMUNICATION_ENDPOINT", "house.communication.azure.com"),
    ],
)
def test_invalid_address_is_an_error_that_names_the_setting(name: str, value: str) -> None:
    with pytest.raises(SettingInvalid, match=name):
        health.make_external_probes(
            GRAPH, make_settings(**{name: value}), Metrics("api"), None, None
        )


@asynccontextmanager
async def mail_server(greeting: bytes) -> AsyncIterator[tuple[int, list[bytes]]]:
    received: list[bytes] = []

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting)
        await writer.drain()
        if greeting:
            received.append(await reader.read(100))
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], received


async def test_mail_server_that_greets_is_reachable_and_gets_quit() -> None:
    async with mail_server(b"220 mx.example ESMTP ready\r\n") as (port, received):
        await health.check_mail_server("smtp", "127.0.0.1", port)
        await wait_until(lambda: received == [b"QUIT\r\n"])


@pytest.mark.parametrize(
    ("greeting", "reason"),
    [
        (b"554 go away\r\n", "554 go away"),
        (b"HTTP/1.1 400\r\n", "HTTP/1.1 400"),
        (b"", "connection closed"),
    ],
)
async def test_mail_server_without_greeting_is_down(greeting: bytes, reason: str) -> None:
    async with mail_server(greeting) as (port, _):
        with pytest.raises(DependencyDown, match=reason):
            await health.check_mail_server("smtp", "127.0.0.1", port)


async def test_unreachable_mail_server_is_down() -> None:
    with pytest.raises(DependencyDown, match="smtp"):
        await health.check_mail_server("smtp", "127.0.0.1", find_free_port())


@pytest.mark.parametrize(
    ("status", "reachable"), [(200, True), (401, True), (404, True), (503, False)]
)
async def test_web_server_is_reachable_below_status_500(status: int, *, reachable: bool) -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(status))
    async with httpx.AsyncClient(transport=transport) as http:
        if reachable:
            await health.check_web_server("acs", http, "https://acs")
        else:
            with pytest.raises(DependencyDown, match="503"):
                await health.check_web_server("acs", http, "https://acs")


@pytest.mark.parametrize("value", ["smtp.gmail.com", "smtp:0", ":25", "smtp:99999", "smtp:abc"])
def test_mail_server_needs_host_and_port(value: str) -> None:
    with pytest.raises(SettingInvalid, match="ALERT_MAIL_SMARTHOST"):
        health.parse_mail_server("ALERT_MAIL_SMARTHOST", value)


def test_addresses_are_parsed() -> None:
    assert health.parse_mail_server("X", "smtp.gmail.com:587") == ("smtp.gmail.com", 587)
    assert health.parse_mail_server("X", "[::1]:25") == ("::1", 25)
    with pytest.raises(SettingInvalid, match="ACS"):
        health.parse_web_server("ACS", "x.communication.azure.com")
