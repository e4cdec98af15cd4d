"""`barnabee health --at`: probes of services without a local runner."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from barnabee.cli.app import app
from barnabee.core import system
from barnabee.core.health import HealthState
from barnabee.core.schema import ServiceConfig
from barnabee.up.probe import NodeProber, NodeProbeResult
from support.redis import RedisServer


@pytest.fixture
def redis_at_its_port(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> RedisServer:
    graph = system.load_system()
    moved = graph.service["redis"].model_copy(update={"port": redis_server.port})
    nodes = {**graph.service, "redis": moved}
    changed = graph.model_copy(update={"service": nodes})
    monkeypatch.setattr(system, "get_system", lambda: changed)
    return redis_server


def test_a_service_is_probed_on_its_host(redis_at_its_port: RedisServer) -> None:
    result = CliRunner().invoke(app, ["health", "--at", "redis=127.0.0.1"])
    assert redis_at_its_port.port
    assert (result.exit_code, "all services are healthy" in result.output) == (0, True)


def test_a_service_that_does_not_answer_fails_after_the_wait() -> None:
    result = CliRunner().invoke(app, ["health", "--at", "worker=127.1.2.3", "--wait", "0.1"])
    assert result.exit_code == 1
    assert "not all services are healthy" in result.output


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("piano=127.0.0.1", "piano"),
        ("restore=127.0.0.1", "restore runs once"),
        ("api", "SERVICE=HOST"),
    ],
)
def test_an_invalid_service_is_rejected(option: str, message: str) -> None:
    result = CliRunner().invoke(app, ["health", "--at", option])
    assert result.exit_code == 2
    assert message in result.stderr


@pytest.mark.parametrize(
    ("state", "code", "status", "ready_status"),
    [
        (HealthState.HEALTHY, "", 0, 0),
        (HealthState.DEGRADED, "not_configured", 0, 0),
        (HealthState.DEGRADED, "dependency_down", 1, 0),
        (HealthState.UNHEALTHY, "dependency_down", 1, 1),
    ],
)
def test_ready_accepts_degraded_services(
    state: HealthState, code: str, status: int, ready_status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    dependencies = {"gpu": {"status": HealthState.UNHEALTHY, "code": code}} if code else {}

    async def probe(_prober: NodeProber, _node: ServiceConfig) -> NodeProbeResult:
        return NodeProbeResult(is_responding=True, state=state, dependencies=dependencies)

    monkeypatch.setattr(NodeProber, "probe", probe)
    arguments = ["health", "--at", "api=127.0.0.1"]
    assert CliRunner().invoke(app, arguments).exit_code == status
    assert CliRunner().invoke(app, [*arguments, "--ready"]).exit_code == ready_status
