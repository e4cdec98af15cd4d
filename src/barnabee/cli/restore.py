"""`barnabee restore`: the database out of its replica."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from barnabee.core.settings import Settings
    from barnabee.core.tables import System
    from barnabee.up.services import House


def restore(
    if_missing: Annotated[
        bool,
        typer.Option(
            "--if-missing", help="Only when there is no database; an empty replica is fine."
        ),
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Also when there is one: it is moved aside and kept.")
    ] = False,
    at: Annotated[
        str | None, typer.Option("--at", help="The backup of this moment (RFC 3339).")
    ] = None,
) -> None:
    """Bring the database back from its replica; the house must be stopped."""
    from barnabee.core import settings, system

    graph = system.load()
    if os.environ.get("CREDENTIALS_DIRECTORY"):  # started by systemd or by the runner
        from barnabee.core import logging

        chosen = settings.load(graph)
        logging.configure("restore", level=chosen.log_level)
        _restore(graph, chosen, if_missing=if_missing, force=force, at=at)
        return
    from barnabee.up import house as houses

    with _as_the_runner_would(houses.local()):
        _restore(graph, settings.load(graph), if_missing=if_missing, force=force, at=at)


def _restore(
    graph: System, chosen: Settings, *, if_missing: bool, force: bool, at: str | None
) -> None:
    import asyncio

    from barnabee.store import replica

    if if_missing:
        if chosen.lease_dir:  # there are two machines, and the other may have written
            from barnabee.cli.standby import settled

            outcome = asyncio.run(settled(chosen))
        else:
            outcome = asyncio.run(replica.restore_if_missing(graph, chosen))
        typer.echo(f"restore: {outcome.value}", err=True)
        return
    aside = asyncio.run(replica.restore(graph, chosen, force=force, at=at))
    kept = f"; what was there is in {aside}" if aside is not None else ""
    typer.echo(f"restored {chosen.database_path}{kept}", err=True)


@contextmanager
def _as_the_runner_would(house: House) -> Iterator[None]:
    """Hold the directory, set the environment, and run the S3 server if it has the replica."""
    from barnabee.up import alone, preflight, services

    with preflight.takeover(house):
        os.environ.update(services.environment_for(house, "restore"))
        companions = ["s3"] if house.replica_is_local else []
        with alone.running(house, companions):
            yield
