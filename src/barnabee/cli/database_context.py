"""Whose database is meant: that of the unit that runs the command, or of `./barnabee up`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from barnabee.backup.restore import Writers
    from barnabee.core.schema import System
    from barnabee.core.settings import Settings
    from barnabee.up.node_commands import House


@dataclass(frozen=True)
class Place:
    """The graph, the settings, and who writes."""

    system: System
    settings: Settings
    writers: Writers


def of_a_unit() -> bool:
    """Return whether systemd or the runner started this, so that the environment says all."""
    return bool(os.environ.get("CREDENTIALS_DIRECTORY") or os.environ.get("DATABASE_PATH"))


@contextmanager
def told(*, companions: bool = True) -> Iterator[Place]:
    """Give what the environment says, or what the local house would; a running one goes on.

    With `companions` the house's own S3 server is started when it is needed and does not run.
    """
    from barnabee.backup.restore import Nobody
    from barnabee.core import settings, system

    if of_a_unit():
        from barnabee.core import logging

        graph = system.load()
        chosen = settings.load(graph)
        logging.configure("backup", level=chosen.log_level)
        yield Place(graph, chosen, Nobody())
        return
    from barnabee.up import local_config as houses

    with _as_the_runner_would(houses.local(), companions=companions) as graph:
        yield Place(graph, settings.load(graph), Nobody())


@contextmanager
def taken(*, read_only: bool) -> Iterator[Place]:
    """Give what `told` gives, and with `read_only` unset who is to be stopped.

    A local house is stopped here and started again afterwards, whatever happens in between.
    """
    from barnabee.cli import writer_control

    if of_a_unit():
        with told() as here:
            yield Place(here.system, here.settings, writer_control.of_units() or here.writers)
        return
    if read_only:
        with told() as here:
            yield here
        return
    from barnabee.core import settings
    from barnabee.up import local_config as houses
    from barnabee.up import preflight

    house = houses.local()
    local = writer_control.LocalHouse(house)
    local.end()
    try:
        with preflight.takeover(house), _as_the_runner_would(house) as graph:
            yield Place(graph, settings.load(graph), local)
    finally:
        local.begin()


@contextmanager
def _as_the_runner_would(house: House, *, companions: bool = True) -> Iterator[System]:
    """Set the environment for the block, and have the house's own S3 server if it is needed."""
    import structlog

    from barnabee.up import node_commands, run_state, secrets, temporary_services

    # What the parts log on the way is for people here, and not part of the answer.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    house.paths.make()
    secrets.make(house.paths)
    runs = run_state.runner(house.paths) is not None
    needed = companions and house.replica_is_local and not runs
    before = dict(os.environ)
    os.environ.update(node_commands.environment_for_backup(house))
    try:
        with temporary_services.running(house, ["s3"] if needed else []):
            yield house.system
    finally:
        os.environ.clear()
        os.environ.update(before)


def keep_recipient(recipient: str) -> str | None:
    """Keep the public half of a recovery key in the local house; None where a person must."""
    from barnabee.backup import keys
    from barnabee.up import paths

    if os.environ.get("BARNABEE_HOME") is None:  # a unit: what it reads is not ours to write
        return None
    path = paths.local().secrets / keys.RECIPIENT
    path.write_text(recipient + "\n", encoding="utf-8")
    path.chmod(0o600)
    return str(path)
