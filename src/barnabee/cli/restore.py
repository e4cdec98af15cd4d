"""`barnabee restore` and `barnabee rollback-data`: the database out of a copy of itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from barnabee.cli.place import Place
    from barnabee.store.backup.restoring import Restored
    from barnabee.store.backup.sources import Source

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
    from barnabee.cli import place
    from barnabee.core.errors import BadInput

    if at and txid:
        raise BadInput(what="Give --at or --txid, not both")
    with place.taken(read_only=dry_run or rehearse or to is not None) as here:
        if if_missing:
            _if_missing(here)
        elif rehearse:
            _rehearse(here, key)
        else:
            make = _finder(here, source, at, txid, key)
            _do(here, make, to=to, dry_run=dry_run, force=force, new_replica=new_replica)


def rollback_data(
    pin_id: Annotated[
        str | None, typer.Argument(metavar="[PIN]", help="Which pin; the newest by default.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be used, and end.")
    ] = False,
) -> None:
    """Return to what the database was when it was pinned, such as before the last migration."""
    from barnabee.cli import place
    from barnabee.core.errors import NotFound
    from barnabee.store import pins
    from barnabee.store.backup import sources

    with place.taken(read_only=dry_run) as here:
        database = here.settings.database_path
        found = pins.find(database, pin_id) if pin_id else pins.newest(database)
        if found is None:
            raise NotFound(what="pin: nothing was ever migrated or pinned here")
        one = found

        async def make() -> Source:
            return sources.from_pin(here.settings, one)

        _do(here, make, to=None, dry_run=dry_run, force=True, migrate=False)


def _finder(
    here: Place, source: str, at: str | None, txid: int, key: Path | None
) -> Callable[[], Coroutine[Any, Any, Source]]:
    from barnabee.store.backup import sources

    async def make() -> Source:
        if source == "litestream":
            return await sources.from_replica(here.system, here.settings, txid=txid, at=at)
        sources.no_txid(txid)
        identity = kit(key) if key else None
        return await asyncio.to_thread(
            sources.from_snapshot, here.system, here.settings, at=at, identity=identity
        )

    return make


def _do(
    here: Place,
    make: Callable[[], Coroutine[Any, Any, Source]],
    *,
    to: Path | None,
    dry_run: bool,
    force: bool,
    migrate: bool = True,
    new_replica: bool = False,
) -> None:
    from datetime import UTC, datetime
    from functools import partial

    from barnabee.cli.progress import shown
    from barnabee.store.backup import renew, restoring

    async def work() -> Restored | None:
        source = await make()
        typer.echo(f"from {source.name}", err=True)
        if dry_run:
            typer.echo("\n".join(source.describe()))
            return None
        with shown() as tell:
            if to is not None:
                return await restoring.elsewhere(to, source, tell)
            database = here.settings.database_path
            aside = partial(renew.put_aside, here.system, here.settings, datetime.now(UTC))
            return await restoring.in_place(
                *(database, source, here.writers, tell),
                force=force,
                migrate=migrate,
                before_swap=aside if new_replica else None,
            )

    done = asyncio.run(work())
    if done is None:
        return
    typer.echo(f"restored {to or here.settings.database_path}: {done.rows} rows", err=True)
    for line in done.notes:
        typer.echo(f"  compared with what was there: {line}", err=True)
    if done.aside is not None:
        typer.echo(f"  what was there is in {done.aside}", err=True)


def _if_missing(here: Place) -> None:
    from barnabee.store import replica

    if here.settings.lease_dir:  # there are two machines, and the other may have written
        from barnabee.cli.standby import settled

        outcome = asyncio.run(settled(here.settings))
    else:
        outcome = asyncio.run(replica.restore_if_missing(here.system, here.settings))
    typer.echo(f"restore: {outcome.value}", err=True)


def _rehearse(here: Place, key: Path | None) -> None:
    from barnabee.cli.progress import shown
    from barnabee.store.backup import rehearsal

    identity = kit(key or Path("-"))
    with shown() as tell:
        done = rehearsal.run(here.system, here.settings, identity, tell)
    typer.echo(f"the recovery kit opens {done.name}: {done.rows} rows, sound and equal")


def kit(path: Path) -> Any:
    """Return the key in the kit, out of a file or typed without being shown."""
    from barnabee.core.errors import BadInput
    from barnabee.store.backup import keys

    if str(path) == "-":
        prompt = "The line AGE-SECRET-KEY-1… of the recovery kit"
        return keys.identity(typer.prompt(prompt, hide_input=True, err=True))
    try:
        return keys.identity(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(what=f"{path} cannot be read: {error}") from error
