"""Database bootstrap on the machine that holds the lease, and divergence of two databases.

The local database stays when no other machine has written a newer epoch. Otherwise it is set aside
and the newest epoch with data is fetched from its replica. The epoch that this machine holds is
recorded before anything is written.

Rows are compared by trace id, which every table of recorded turns has.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

from barnabee.backup import integrity
from barnabee.backup.cold_start import ColdStartOutcome
from barnabee.core.errors import BackupDamaged, BackupUnreachable, LeaseNotHeld, SettingInvalid
from barnabee.core.schema import System
from barnabee.core.settings import Settings
from barnabee.standby import replication
from barnabee.store import fence
from barnabee.store.database_files import move_aside

REPORT_NAME = "unreplicated.json"
ID_COLUMN = "trace_id"
FOLLOWER_FOLDER = "standby"  # in the database's directory
COPY_NAME = "copy.db"  # the database as the follower has copied it
_FETCHED_NAME = "arriving.db"
_EPOCH_NAME = "line"  # epoch of the followed copy

log = structlog.get_logger()


def set_aside_database(path: Path, new: Path) -> Path | None:
    """Move the database at `path` to a folder of its own and report its rows missing in `new`.

    Returns the folder, or None when there was no database. Blocking.
    """
    folder = move_aside(path, datetime.now(UTC))
    if folder is None:
        return None
    try:
        missing = find_missing_rows(folder / path.name, new)
    except ValueError as error:
        log.warning("rows_not_compared", folder=str(folder), reason=str(error))
        return folder
    write_report(folder, missing)
    counts = {table: len(ids) for table, ids in missing.items()}
    log.warning("database_set_aside", folder=str(folder), unreplicated=counts)
    return folder


def find_missing_rows(old: Path, new: Path) -> dict[str, list[str]]:
    """Return by table the ids of the rows of `old` that are not in `new`. Blocking.

    `old` must not be in use; its write-ahead log is read with it. ValueError when either database
    is unreadable.
    """
    try:
        with closing(_open(old)) as old_db, closing(_open(new)) as new_db:
            old_ids = {table: _ids(old_db, table) for table in _tables(old_db)}
            new_tables = set(_tables(new_db))
            return {
                table: sorted(ids - (_ids(new_db, table) if table in new_tables else set()))
                for table, ids in old_ids.items()
            }
    except sqlite3.Error as error:
        raise ValueError(str(error)) from error


def write_report(folder: Path, missing: dict[str, list[str]]) -> Path:
    """Write the ids of the missing rows to a JSON file in `folder`; return its path."""
    file = folder / REPORT_NAME
    text = json.dumps({table: ids for table, ids in missing.items() if ids}, indent=2)
    file.write_text(f"{text}\n", encoding="utf-8")
    return file


def list_set_aside(database: Path) -> list[dict[str, Any]]:
    """Return the folders of databases set aside, each with its report (None: not compared)."""
    entries = []
    for folder in sorted(database.parent.glob(f"{database.name}.before-restore-*")):
        try:
            rows = json.loads((folder / REPORT_NAME).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            rows = None
        entries.append({"folder": str(folder), "unreplicated": rows})
    return entries


def _open(path: Path) -> sqlite3.Connection:
    # Read-only, because closing the last writable connection would checkpoint and empty the log.
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)


def _tables(connection: sqlite3.Connection) -> list[str]:
    names = [
        row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    ]
    return [name for name in names if ID_COLUMN in _columns(connection, name)]


def _columns(connection: sqlite3.Connection, table: str) -> list[str]:
    return [column[1] for column in connection.execute(f'PRAGMA table_info("{table}")')]


def _ids(connection: sqlite3.Connection, table: str) -> set[str]:
    return {row[0] for row in connection.execute(f'SELECT {ID_COLUMN} FROM "{table}"')}  # noqa: S608


@dataclass(frozen=True)
class EpochSource:
    """Newest epoch with data, and where its database is."""

    epoch: int
    copy: Path | None  # None: the local database


async def prepare_database(
    system: System, settings: Settings, *, clock_ns: Callable[[], int] = fence.boot_time_ns
) -> ColdStartOutcome:
    """Put the newest database in place; `system` is that of epoch 1.

    Raises LeaseNotHeld without the lease, unless there is a local database, which then is only
    read. BackupUnreachable and BackupDamaged leave everything unchanged.
    """
    data = settings.database_path.parent
    if not data.is_dir():
        hint = "create the directory, or mount the data disk"
        raise SettingInvalid(name="DATABASE_PATH", reason=f"{data} is missing", hint=hint)
    exists = settings.database_path.exists() and settings.database_path.stat().st_size > 0
    try:
        fence.require_permit(Path(settings.lease_dir), clock_ns)
    except LeaseNotHeld:
        if exists:
            return ColdStartOutcome.PRESENT
        raise
    permit = fence.read_permit(Path(settings.lease_dir))
    held = permit.epoch if permit else 1
    local_epoch = fence.read_epoch(data) if exists else None
    source = await _find_newest(system, settings, held, local_epoch)
    outcome = ColdStartOutcome.PRESENT if exists else ColdStartOutcome.EMPTY
    if source is not None and source.copy is not None:
        await asyncio.to_thread(_replace_database, source.copy, settings.database_path)
        outcome = ColdStartOutcome.RESTORED
    fence.require_permit(Path(settings.lease_dir), clock_ns)  # the fetch may have outlasted it
    fence.write_epoch(data, held)
    source_epoch = source.epoch if source else None
    log.info("database_prepared", outcome=outcome.value, epoch=held, source_epoch=source_epoch)
    return outcome


async def _find_newest(
    system: System, settings: Settings, held: int, local_epoch: int | None
) -> EpochSource | None:
    """Return the newest epoch with data; for the local epoch the local database is the newest."""
    for epoch in range(held, 0, -1):
        if local_epoch == epoch:
            return EpochSource(epoch, None)
        copy = await _fetch_epoch(system, settings, epoch)
        if copy is not None:
            return EpochSource(epoch, copy)
    return None


async def _fetch_epoch(system: System, settings: Settings, epoch: int) -> Path | None:
    folder = settings.database_path.parent / FOLLOWER_FOLDER
    folder.mkdir(mode=0o770, exist_ok=True)
    followed, fetched = folder / COPY_NAME, folder / _FETCHED_NAME
    try:
        if not await replication.has_data(system, settings, epoch):
            return None
        limit_s = system.service["restore"].startup_budget_s
        await replication.fetch_database(system, settings, epoch, fetched, limit_s=limit_s)
    except (BackupUnreachable, BackupDamaged) as error:
        if _read_followed_epoch(folder) != epoch:
            raise
        log.warning("followed_copy_is_used", code=error.code, reason=str(error), epoch=epoch)
        await asyncio.to_thread(_use_followed_copy, followed, fetched, error)
    return fetched


def _use_followed_copy(
    followed: Path, fetched: Path, error: BackupUnreachable | BackupDamaged
) -> None:
    """Copy the follower's database to `fetched`; raises `error` when that is damaged too."""
    try:
        shutil.copyfile(followed, fetched)
        integrity.check_integrity(fetched)
    except (OSError, ValueError):
        raise error from None


def write_followed_epoch(folder: Path, epoch: int | None) -> None:
    """Record the epoch of the followed copy; None: the copy is incomplete."""
    file = folder / _EPOCH_NAME
    if epoch is None:
        file.unlink(missing_ok=True)
    else:
        file.write_text(f"{epoch}\n", encoding="ascii")


def _read_followed_epoch(folder: Path) -> int | None:
    try:
        return int((folder / _EPOCH_NAME).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def _replace_database(copy: Path, path: Path) -> None:
    set_aside_database(path, copy)
    copy.replace(path)
