"""A command that needs the database for itself, and the runner of a local deployment."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from barnabee.cli.database_context import exclusive_context
from barnabee.core.errors import AlreadyRunning
from barnabee.up import launch, run_state
from barnabee.up.deployment import LocalDeployment, make_local_deployment
from support.fake_deployment import FakeDeployment


@pytest.fixture
def deployment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDeployment]:
    deployment = FakeDeployment(tmp_path)
    for name in ("redis", "gpu", "api"):
        deployment.add(name)
    deployment.write()
    monkeypatch.setenv("BARNABEE_HOME", str(deployment.paths.root))
    monkeypatch.setenv("BARNABEE_SYSTEM", str(tmp_path / "system.toml"))
    for name in ("CREDENTIALS_DIRECTORY", "DATABASE_PATH"):
        monkeypatch.delenv(name, raising=False)
    yield deployment
    deployment.clean_up()


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[LocalDeployment]:
    """Return the deployments that are started in the background."""
    found: list[LocalDeployment] = []
    monkeypatch.setattr(launch, "run_detached", lambda deployment, _view: found.append(deployment))
    return found


async def test_the_runner_goes_down_when_asked_and_starts_again(
    deployment: FakeDeployment, started: list[LocalDeployment]
) -> None:
    deployment.start()
    await deployment.wait_until_healthy()
    with exclusive_context(read_only=False) as context:
        assert run_state.find_runner(deployment.paths) is not None
        await context.writers.stop()
        assert run_state.find_runner(deployment.paths) is None
        assert deployment.find_processes() == []
        with pytest.raises(AlreadyRunning), launch.take_over(make_local_deployment()):
            pass  # another runner must not start now
        await context.writers.stop()
        await context.writers.start()
        assert started == []
    assert [one.paths for one in started] == [deployment.paths]
    with launch.take_over(make_local_deployment()):
        pass


async def test_a_failure_before_the_exchange_leaves_the_runner_alone(
    deployment: FakeDeployment, started: list[LocalDeployment]
) -> None:
    deployment.start()
    before = await deployment.wait_until_healthy()
    with pytest.raises(OSError, match="full"), exclusive_context(read_only=False):
        raise OSError("the disk is full")
    assert run_state.require_running(deployment.paths).pid == before.pid
    assert started == []


async def test_no_runner_starts_while_the_database_is_in_use(
    deployment: FakeDeployment, started: list[LocalDeployment]
) -> None:
    with exclusive_context(read_only=False) as context:
        with pytest.raises(AlreadyRunning), launch.take_over(make_local_deployment()):
            pass
        await context.writers.stop()
    assert started == []
