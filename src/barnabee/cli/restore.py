"""`barnabee restore` and `barnabee rollback-data`: restores of the database."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from barnabee.cli import echo

if TYPE_CHECKING:
    from barnabee.backup.restore import RestoreResult
    from barnabee.backup.restore_sources import RestoreSource
    from barnabee.cli.database_context import DatabaseContext

    SourceFactory = Callable[[DatabaseContext], Coroutine[Any, Any, RestoreSource]]

KitFile = Annotated[
    Path | None,
    typer.Option("--key", help="File with the recovery kit; `-` asks for its password."),
]

IfMissing = Annotated[
    bool,
    typer.Option("--if-missing", help="Do nothing if the database exists or there is no backup."),
]
NewReplica = Annotated[
    bool, typer.Option("--new-replica", help="Set a damaged replica aside and start a new one.")
]
TestKit = Annotated[
    bool,
    typer.Option("--rehearse-recovery-kit", help="Test that the kit opens the newest snapshot."),
]
Source = Annotated[
    Literal["litestream", "snapshot", "legacy"],
    typer.Option("--from", help="Which backup to use; legacy: a snapshot from before restic."),
]
ListOnly = Annotated[bool, typer.Option("--list", help="List the snapshots, and exit.")]
LegacyFile = Annotated[
    Path | None,
    typer.Argument(metavar="[FILE]", help="With `--from legacy`: the file .db.zst[.age]."),
]


def restore_database(
    file: LegacyFile = None,
    if_missing: IfMissing = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace an existing database; it is moved aside.")
    ] = False,
    at: Annotated[
        str | None, typer.Option("--at", help="Use the last backup before this time (RFC 3339).")
    ] = None,
    txid: Annotated[
        int, typer.Option("--txid", min=0, help="Use the replica at this transaction.")
    ] = 0,
    source: Source = "litestream",
    to: Annotated[
        Path | None, typer.Option("--to", help="Restore into this new file; change nothing else.")
    ] = None,
    new_replica: NewReplica = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show which backup would be used, and exit.")
    ] = False,
    list_only: ListOnly = False,
    test_kit: TestKit = False,
    key: KitFile = None,
) -> None:
    """Restore the database; services that write to it are stopped and started again."""
    from barnabee.cli import database_context
    from barnabee.core.errors import BadInput

    if at and txid:
        raise BadInput(what="Give --at or --txid, not both")
    if (file is None) == (source == "legacy"):
        raise BadInput(what="Give the FILE of a snapshot with `--from legacy`, and only then")
    if if_missing:
        with database_context.exclusive_context(read_only=False) as context:
            _restore_if_missing(context)
        return
    if test_kit:
        with database_context.read_context() as context:
            _test_recovery_kit(context, key)
        return
    text = read_kit(key) if key else None
    if list_only:
        with database_context.read_context(companions=False) as context:
            _list_snapshots(context, text)
        return
    make_source = partial(_find_source, source=source, at=at, txid=txid, file=file, kit=text)
    if _announce_source(make_source, dry_run=dry_run, force=force or to is not None):
        with database_context.exclusive_context(read_only=to is not None) as context:
            _restore(context, make_source, to=to, force=force, new_replica=new_replica)


def restore_pin(
    pin_id: Annotated[
        str | None, typer.Argument(metavar="[PIN]", help="Restore point; default: the newest.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show which backup would be used, and exit.")
    ] = False,
) -> None:
    """Return to a restore point, such as the state before the last migration."""
    from barnabee.cli import database_context

    make_source = partial(_find_restore_point, pin_id=pin_id)
    if _announce_source(make_source, dry_run=dry_run, force=True):
        with database_context.exclusive_context(read_only=False) as context:
            _restore(context, make_source, force=True, migrate=False)


async def _find_source(
    context: DatabaseContext,
    *,
    source: str,
    at: str | None,
    txid: int,
    file: Path | None,
    kit: str | None,
) -> RestoreSource:
    from barnabee.backup import restore_sources, snapshot_job

    if file is not None:
        return restore_sources.find_legacy_source(file, kit)
    if source == "litestream":
        return await restore_sources.find_replica_source(
            context.system, context.settings, txid=txid, at=at
        )
    restore_sources.require_no_txid(txid)
    return await asyncio.to_thread(
        restore_sources.find_snapshot_source,
        context.system,
        context.settings,
        at=at,
        password=snapshot_job.parse_password(kit) if kit else None,
    )


async def _find_restore_point(context: DatabaseContext, *, pin_id: str | None) -> RestoreSource:
    from barnabee.backup import restore_points, restore_sources
    from barnabee.core.errors import NotFound

    database = context.settings.database_path
    point = restore_points.find(database, pin_id) if pin_id else restore_points.newest(database)
    if point is None:
        raise NotFound(what="restore point: none was created on this machine")
    return restore_sources.find_restore_point_source(context.settings, point)


def _announce_source(make_source: SourceFactory, *, dry_run: bool, force: bool) -> bool:
    """Print the backup that will be used; return False for a dry run.

    Errors are raised here, before services are stopped.
    """
    from barnabee.backup import restore
    from barnabee.cli import database_context

    with database_context.read_context() as context:
        source = asyncio.run(make_source(context))
        if not dry_run:
            restore.require_force(context.settings.database_path, force=force)
    echo(f"from {source.name}", err=True)
    if dry_run:
        echo("\n".join(source.describe()))
    return not dry_run


def _restore(
    context: DatabaseContext,
    make_source: SourceFactory,
    *,
    force: bool,
    to: Path | None = None,
    migrate: bool = True,
    new_replica: bool = False,
) -> None:
    from datetime import UTC, datetime

    from barnabee.backup import replica, restic, restore, restore_sources
    from barnabee.up.console import show_steps

    async def restore_from_source() -> RestoreResult:
        source = await make_source(context)
        with show_steps() as report:
            if to is not None:
                return await restore.restore_to_file(to, source, report)
            database = context.settings.database_path
            set_aside = partial(
                replica.reset_replica, context.system, context.settings, datetime.now(UTC)
            )
            result = await restore.restore_in_place(
                *(database, source, context.writers, report),
                force=force,
                migrate=migrate,
                before_swap=set_aside if new_replica else None,
            )
            if isinstance(source, restore_sources.SnapshotSource):  # the next snapshots go there
                restic.make_password(context.settings, source.repository.password)
            return result

    result = asyncio.run(restore_from_source())
    echo(f"restored {to or context.settings.database_path}: {result.rows} rows", err=True)
    for line in result.notes:
        echo(f"  compared with the previous database: {line}", err=True)
    if result.previous_path is not None:
        echo(f"  the previous database is in {result.previous_path}", err=True)


def _restore_if_missing(context: DatabaseContext) -> None:
    from barnabee.backup import cold_start

    if context.settings.lease_dir:  # the database may exist on the other machine
        from barnabee.cli.standby import prepare_standby_database

        outcome = asyncio.run(prepare_standby_database(context.settings))
    else:
        outcome = asyncio.run(cold_start.restore_if_missing(context.system, context.settings))
    echo(f"restore: {outcome.value}", err=True)


def _test_recovery_kit(context: DatabaseContext, key: Path | None) -> None:
    from barnabee.backup import snapshot_job
    from barnabee.up.console import show_steps

    password = snapshot_job.parse_password(read_kit(key or Path("-")))
    with show_steps() as report:
        result = snapshot_job.verify_kit(context.system, context.settings, password, report)
    echo(f"the recovery kit opens {result.name}: {result.rows} rows, intact and identical")


def _list_snapshots(context: DatabaseContext, kit: str | None) -> None:
    from barnabee.backup import restore_sources, snapshot_job

    password = snapshot_job.parse_password(kit) if kit else None
    for repository in restore_sources.open_repositories(context.system, context.settings, password):
        for snapshot in repository.list_snapshots():
            echo(f"{snapshot.id}  {snapshot.at.isoformat()}  {repository.address}")


def read_kit(path: Path) -> str:
    """Return the text of a recovery kit, from a file or from a hidden prompt."""
    from barnabee.core.errors import BadInput

    if str(path) == "-":
        return str(typer.prompt("Password of the recovery kit", hide_input=True, err=True))
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(what=f"{path} cannot be read: {error}") from error
