"""Stopping and starting the services that write to the database.

On NixOS `barnabee-restore` names the units in BARNABEE_UNITS; in a local deployment the runner
manages the services.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import typer

from barnabee.core.errors import DependencyDown
from barnabee.core.settings import read_variable

if TYPE_CHECKING:
    from barnabee.up.deployment import LocalDeployment

UNITS = "BARNABEE_UNITS"
_TIMEOUT_S = 60.0


class UnitControl:
    """systemd units: the first word of `units` is the target to start, the others are stopped."""

    def __init__(self, units: str) -> None:
        self._target, *self._units = units.split()

    async def stop(self) -> None:
        await _run_systemctl("stop", *self._units)

    async def start(self) -> None:
        """Start the target, which wants all units."""
        await _run_systemctl("start", "--no-block", self._target)


class RunnerControl:
    """The runner of a local deployment, if it is running.

    It has to be stopped before `take_over` and restarted after it, so `stop` and `start`, which a
    restore calls in between, do nothing.
    """

    def __init__(self, deployment: LocalDeployment) -> None:
        from barnabee.up import run_state

        self._deployment = deployment
        self._was_running = run_state.find_runner(deployment.paths) is not None

    async def stop(self) -> None:
        pass

    async def start(self) -> None:
        pass

    def stop_runner(self) -> None:
        if self._was_running:
            from barnabee.cli import up

            typer.echo("stopping the assistant", err=True)
            up.stop_deployment()

    def restart_runner(self) -> None:
        """Start a detached runner if one was running before."""
        if self._was_running:
            from barnabee.up import launch
            from barnabee.up.console import SilentView

            launch.run_detached(self._deployment, SilentView())
            typer.echo("started the assistant again: `./barnabee health --wait 60`", err=True)


def read_units() -> UnitControl | None:
    """Return the control of the units in BARNABEE_UNITS, or None when it names none."""
    units = read_variable(UNITS)
    return UnitControl(units) if units.split()[1:] else None


async def _run_systemctl(*arguments: str) -> None:
    process = await asyncio.create_subprocess_exec(
        "systemctl", *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            output, _ = await process.communicate()
    except TimeoutError as error:
        process.kill()
        await process.wait()
        reason = f"`systemctl {' '.join(arguments)}` took longer than {_TIMEOUT_S:.0f} s"
        raise DependencyDown(dependency="systemd", reason=reason) from error
    if process.returncode:
        reason = output.decode(errors="replace").strip() or f"status {process.returncode}"
        raise DependencyDown(dependency="systemd", reason=reason)
