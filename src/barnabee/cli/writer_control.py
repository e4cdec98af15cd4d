"""Who writes into the database, and how a command stops and starts them.

On NixOS `barnabee-restore` names the units in BARNABEE_UNITS; a local house is the runner's.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import typer

from barnabee.core.errors import DependencyDown

if TYPE_CHECKING:
    from barnabee.up.node_commands import House

UNITS = "BARNABEE_UNITS"
_LIMIT_S = 60.0


class Units:
    """systemd units: the first word is the target to start, the others are stopped."""

    def __init__(self, told: str) -> None:
        """Read what BARNABEE_UNITS says."""
        self._target, *self._units = told.split()

    async def stop(self) -> None:
        """Stop the units."""
        await _systemctl("stop", *self._units)

    async def start(self) -> None:
        """Start the target, which wants them all."""
        await _systemctl("start", "--no-block", self._target)


class LocalHouse:
    """The runner of a local house, if it runs."""

    def __init__(self, house: House) -> None:
        """Find out whether it runs."""
        from barnabee.up import run_state

        self._house = house
        self.runs = run_state.runner(house.paths) is not None

    async def stop(self) -> None:
        """Do nothing: it was stopped before the directory was taken over."""

    async def start(self) -> None:
        """Do nothing: it is started after the directory was given back."""

    def end(self) -> None:
        """Stop the house."""
        if self.runs:
            from barnabee.cli import up

            typer.echo("stopping the house", err=True)
            up.down()

    def begin(self) -> None:
        """Start the house again, in the background, if it ran."""
        if self.runs:
            from barnabee.up import launch
            from barnabee.up.console import SilentView

            launch.detached(self._house, SilentView())
            typer.echo("started the house again: `./barnabee health --wait 60`", err=True)


def of_units() -> Units | None:
    """Return the units that BARNABEE_UNITS names, None when it names none."""
    told = os.environ.get(UNITS, "")
    return Units(told) if told.split()[1:] else None


async def _systemctl(*arguments: str) -> None:
    process = await asyncio.create_subprocess_exec(
        "systemctl", *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        async with asyncio.timeout(_LIMIT_S):
            output, _ = await process.communicate()
    except TimeoutError as error:
        process.kill()
        await process.wait()
        reason = f"`systemctl {' '.join(arguments)}` took longer than {_LIMIT_S:.0f} s"
        raise DependencyDown(dependency="systemd", reason=reason) from error
    if process.returncode:
        reason = output.decode(errors="replace").strip() or f"status {process.returncode}"
        raise DependencyDown(dependency="systemd", reason=reason)
