"""`barnabee health --at`: the cascade of a machine that no runner looks after."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from barnabee.cli.app import app
from barnabee.core import system
from barnabee.core.health import State
from barnabee.core.schema import Service
from barnabee.up.probe import Look, Prober
from support.redis import RedisServer


@pytest.fixture
def redis_at_its_port(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> RedisServer:
    graph = system.load()
    moved = graph.service["redis"].model_copy(update={"port": redis_server.port})
    nodes = {**graph.service, "redis": moved}
    changed = graph.model_copy(update={"service": nodes})
    monkeypatch.setattr(system, "current", lambda: changed)
    return redis_server


def test_a_service_is_asked_where_it_is(redis_at_its_port: RedisServer) -> None:
    result = CliRunner().invoke(app, ["health", "--at", "redis=127.0.0.1"])
    assert redis_at_its_port.port
    assert (result.exit_code, "all is well" in result.output) == (0, True)


def test_one_that_does_not_answer_fails_within_its_wait() -> None:
    result = CliRunner().invoke(app, ["health", "--at", "worker=127.1.2.3", "--wait", "0.1"])
    assert result.exit_code == 1
    assert "not everything is well" in result.output


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("piano=127.0.0.1", "piano"),
        ("restore=127.0.0.1", "restore runs once"),
        ("api", "SERVICE=HOST"),
    ],
)
def test_what_cannot_be_asked_is_said_in_a_sentence(place: str, says: str) -> None:
    result = CliRunner().invoke(app, ["health", "--at", place])
    assert result.exit_code == 2
    assert says in result.stderr


@pytest.mark.parametrize(
    ("state", "code", "well", "ready"),
    [
        (State.HEALTHY, "", 0, 0),
        (State.DEGRADED, "not_configured", 0, 0),
        (State.DEGRADED, "dependency_down", 1, 0),
        (State.UNHEALTHY, "dependency_down", 1, 1),
    ],
)
def test_ready_is_content_with_a_service_that_works_with_less(
    state: State, code: str, well: int, ready: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    lacking = {"gpu": {"status": State.UNHEALTHY, "code": code}} if code else {}

    async def look(_prober: Prober, _node: Service) -> Look:
        return Look(answers=True, state=state, dependencies=lacking)

    monkeypatch.setattr(Prober, "look", look)
    asked = ["health", "--at", "api=127.0.0.1"]
    assert CliRunner().invoke(app, asked).exit_code == well
    assert CliRunner().invoke(app, [*asked, "--ready"]).exit_code == ready
