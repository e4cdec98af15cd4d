"""`barnabee restore` and `barnabee rollback-data`: the database out of a copy of itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from barnabee.backup.restore import Restored
    from barnabee.backup.restore_sources import Source
    from barnabee.cli.database_context import Place

    Make = Callable[[Place], Coroutine[Any, Any, Source]]

KitFile = Annotated[
    Path | None,
    typer.Option("--key", help="A file with the recovery kit; `-` reads it from the terminal."),
]


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
        str | None, typer.Option("--at", help="The last backup before this moment (RFC 3339).")
    ] = None,
    txid: Annotated[
        int, typer.Option("--txid", min=0, help="The replica at this transaction.")
    ] = 0,
    source: Annotated[
        Literal["litestream", "snapshot"], typer.Option("--from", help="Out of which copy.")
    ] = "litestream",
    to: Annotated[
        Path | None, typer.Option("--to", help="Write it to this new file; change nothing else.")
    ] = None,
    new_replica: Annotated[
        bool,
        typer.Option("--new-replica", help="The replica is damaged: put it aside, begin another."),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be used, and end.")
    ] = False,
    rehearse: Annotated[
        bool,
        typer.Option(
            "--rehearse-recovery-kit", help="Prove that the kit opens the newest snapshot."
        ),
    ] = False,
    key: KitFile = None,
) -> None:
    """Bring the database back; who writes into it is stopped and started again."""
    from barnabee.cli import database_context
    from barnabee.core.errors import BadInput

    if at and txid:
        raise BadInput(what="Give --at or --txid, not both")
    if if_missing:
        with database_context.taken(read_only=False) as here:
            _if_missing(here)
        return
    if rehearse:
        with database_context.told() as here:
            _rehearse(here, key)
        return
    identity = kit(key) if key else None
    make = partial(_source, source=source, at=at, txid=txid, identity=identity)
    if _looked(make, dry_run=dry_run, force=force or to is not None):
        with database_context.taken(read_only=to is not None) as here:
            _do(here, make, to=to, force=force, new_replica=new_replica)


def rollback_data(
    pin_id: Annotated[
        str | None, typer.Argument(metavar="[PIN]", help="Which pin; the newest by default.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be used, and end.")
    ] = False,
) -> None:
    """Return to what the database was when it was pinned, such as before the last migration."""
    from barnabee.cli import database_context

    make = partial(_pinned, pin_id=pin_id)
    if _looked(make, dry_run=dry_run, force=True):
        with database_context.taken(read_only=False) as here:
            _do(here, make, force=True, migrate=False)


async def _source(here: Place, *, source: str, at: str | None, txid: int, identity: Any) -> Source:
    from barnabee.backup import restore_sources

    if source == "litestream":
        return await restore_sources.from_replica(here.system, here.settings, txid=txid, at=at)
    restore_sources.no_txid(txid)
    return await asyncio.to_thread(
        restore_sources.from_snapshot, here.system, here.settings, at=at, identity=identity
    )


async def _pinned(here: Place, *, pin_id: str | None) -> Source:
    from barnabee.backup import restore_points, restore_sources
    from barnabee.core.errors import NotFound

    database = here.settings.database_path
    found = restore_points.find(database, pin_id) if pin_id else restore_points.newest(database)
    if found is None:
        raise NotFound(what="pin: nothing was ever migrated or pinned here")
    return restore_sources.from_pin(here.settings, found)


def _looked(make: Make, *, dry_run: bool, force: bool) -> bool:
    """Say what would be used before anybody is stopped; return whether to go on."""
    from barnabee.backup import restore as restore_module
    from barnabee.cli import database_context

    with database_context.told() as here:
        source = asyncio.run(make(here))
        if not dry_run:
            restore_module.require_force(here.settings.database_path, force=force)
    typer.echo(f"from {source.name}", err=True)
    if dry_run:
        typer.echo("\n".join(source.describe()))
    return not dry_run


def _do(
    here: Place,
    make: Make,
    *,
    force: bool,
    to: Path | None = None,
    migrate: bool = True,
    new_replica: bool = False,
) -> None:
    from datetime import UTC, datetime

    from barnabee.backup import replica_reset
    from barnabee.backup import restore as restore_module
    from barnabee.cli.progress import shown

    async def work() -> Restored:
        source = await make(here)
        with shown() as tell:
            if to is not None:
                return await restore_module.elsewhere(to, source, tell)
            database = here.settings.database_path
            aside = partial(replica_reset.put_aside, here.system, here.settings, datetime.now(UTC))
            return await restore_module.in_place(
                *(database, source, here.writers, tell),
                force=force,
                migrate=migrate,
                before_swap=aside if new_replica else None,
            )

    done = asyncio.run(work())
    typer.echo(f"restored {to or here.settings.database_path}: {done.rows} rows", err=True)
    for line in done.notes:
        typer.echo(f"  compared with what was there: {line}", err=True)
    if done.aside is not None:
        typer.echo(f"  what was there is in {done.aside}", err=True)


def _if_missing(here: Place) -> None:
    from barnabee.backup import cold_start

    if here.settings.lease_dir:  # there are two machines, and the other may have written
        from barnabee.cli.standby import settled

        outcome = asyncio.run(settled(here.settings))
    else:
        outcome = asyncio.run(cold_start.restore_if_missing(here.system, here.settings))
    typer.echo(f"restore: {outcome.value}", err=True)


def _rehearse(here: Place, key: Path | None) -> None:
    from barnabee.backup import recovery_kit_test
    from barnabee.cli.progress import shown

    identity = kit(key or Path("-"))
    with shown() as tell:
        done = recovery_kit_test.run(here.system, here.settings, identity, tell)
    typer.echo(f"the recovery kit opens {done.name}: {done.rows} rows, sound and equal")


def kit(path: Path) -> Any:
    """Return the key in the kit, out of a file or typed without being shown."""
    from barnabee.backup import keys
    from barnabee.core.errors import BadInput

    if str(path) == "-":
        prompt = "The line AGE-SECRET-KEY-1… of the recovery kit"
        return keys.identity(typer.prompt(prompt, hide_input=True, err=True))
    try:
        return keys.identity(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(what=f"{path} cannot be read: {error}") from error
