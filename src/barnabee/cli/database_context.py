"""The database that a command works on: that of the systemd unit, or of the local deployment."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from barnabee.cli import echo
from barnabee.core.settings import override_environment, read_variable

if TYPE_CHECKING:
    from barnabee.backup.restore import Writers
    from barnabee.core.schema import System
    from barnabee.core.settings import Settings
    from barnabee.up.deployment import LocalDeployment

UNITS = "BARNABEE_UNITS"


@dataclass(frozen=True)
class DatabaseContext:
    """The graph, the settings, and the control of the services that write to the database."""

    system: System
    settings: Settings
    writers: Writers


def runs_as_unit() -> bool:
    """Return whether systemd or the runner started this command and set its environment."""
    return bool(read_variable("CREDENTIALS_DIRECTORY") or read_variable("DATABASE_PATH"))


@contextmanager
def read_context(*, companions: bool = True) -> Iterator[DatabaseContext]:
    """Yield the context of the unit or of the local deployment; a running one is not stopped.

    With `companions` the deployment's own S3 server is started if it is needed and not running.
    """
    from barnabee.backup.restore import NoWriters
    from barnabee.core import settings, system
    from barnabee.store import fence

    if runs_as_unit():
        from barnabee.core import logging

        graph = fence.with_current_epoch(system.load_system())
        configured = settings.read_settings(graph)
        logging.configure_logging("backup", level=configured.log_level)
        yield DatabaseContext(graph, configured, NoWriters())
        return
    from barnabee.up.deployment import make_local_deployment

    with _local_environment(make_local_deployment(), companions=companions) as graph:
        yield DatabaseContext(graph, settings.read_settings(graph), NoWriters())


@contextmanager
def exclusive_context(*, read_only: bool) -> Iterator[DatabaseContext]:
    """Yield the context with control of the writers; as `read_context` if `read_only`.

    A local deployment is stopped for the block and always started again afterwards.
    """
    if runs_as_unit():
        with read_context() as context:
            writers = read_units() or context.writers
            yield DatabaseContext(context.system, context.settings, writers)
        return
    if read_only:
        with read_context() as context:
            yield context
        return
    from barnabee.core import settings
    from barnabee.up import launch
    from barnabee.up.deployment import make_local_deployment

    deployment = make_local_deployment()
    runner = RunnerControl(deployment)
    runner.stop_runner()
    try:
        with launch.take_over(deployment), _local_environment(deployment) as graph:
            yield DatabaseContext(graph, settings.read_settings(graph), runner)
    finally:
        runner.restart_runner()


@contextmanager
def _local_environment(deployment: LocalDeployment, *, companions: bool = True) -> Iterator[System]:
    """Set the environment of the deployment's backups, and run its S3 server if needed."""
    import structlog

    from barnabee.up import launch, run_state, secrets
    from barnabee.up.deployment import make_backup_environment

    # Log records must not mix with the command's output.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    deployment.paths.make()
    secrets.ensure_secrets(deployment.paths)
    is_running = run_state.find_runner(deployment.paths) is not None
    needs_s3 = companions and deployment.has_local_replica and not is_running
    with (
        override_environment(make_backup_environment(deployment)),
        launch.run_nodes(deployment, ["s3"] if needs_s3 else []),
    ):
        yield deployment.system


class UnitControl:
    """systemd units: the first word of `units` is the target to start, the others are stopped.

    Path units among them are started again: they would start what they watch over during a restore.
    """

    def __init__(self, units: str) -> None:
        self._target, *self._units = units.split()

    async def stop(self) -> None:
        from barnabee.up.unit_supervisor import run_systemctl

        await run_systemctl("stop", *self._units)

    async def start(self) -> None:
        """Start the target, which wants all services."""
        from barnabee.up.unit_supervisor import run_systemctl

        paths = [unit for unit in self._units if unit.endswith(".path")]
        await run_systemctl("start", "--no-block", self._target, *paths)

    async def restart(self, services: list[str]) -> None:
        """Restart services and wait until they are ready, also those that systemd gave up."""
        from barnabee.up.unit_supervisor import run_systemctl

        units = [f"barnabee-{name}.service" for name in services]
        await run_systemctl("reset-failed", *units)
        await run_systemctl("restart", *units)


class RunnerControl:
    """The runner of a local deployment, if it is running.

    It has to be stopped before `take_over` and restarted after it, so `stop` and `start`, which a
    restore calls in between, do nothing.
    """

    def __init__(self, deployment: LocalDeployment) -> None:
        from barnabee.up.launch import find_running_deployment

        self._running = find_running_deployment(deployment.paths)

    async def stop(self) -> None:
        pass

    async def start(self) -> None:
        pass

    def stop_runner(self) -> None:
        if self._running is not None:
            from barnabee.cli import up

            echo("stopping the assistant", err=True)
            up.stop_deployment()

    def restart_runner(self) -> None:
        """Start a detached runner, with the options of the one that was running before, if any."""
        if self._running is not None:
            from barnabee.up import launch
            from barnabee.up.console import SilentView

            launch.run_detached(self._running, SilentView())
            echo("started the assistant again: `./barnabee health --wait 60`", err=True)


def read_units() -> UnitControl | None:
    """Return the control of the units in BARNABEE_UNITS, or None when it names none."""
    units = read_variable(UNITS)
    return UnitControl(units) if units.split()[1:] else None
