"""Restore points: copies of the database from before a migration, or made by an operator.

    <data>/pins.json        the list, oldest first
    <data>/pins/<id>.db     a complete copy of the database

A restore point also records the replica's transaction id. The replica alone is not enough:
litestream compacts transactions after some minutes, and then only some of them can be restored. So
the newest copies are kept here, and `barnabee rollback-data` uses them.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import structlog

from barnabee.backup import consistent_copy
from barnabee.backup.consistent_copy import ReadTxid, unknown_txid
from barnabee.core.errors import DatabaseFull, NotFound
from barnabee.core.files import write_atomically
from barnabee.store.db import BeforeMigration
from barnabee.store.migrations import lock_migrations
from barnabee.store.sqlite import MIN_FREE_BYTES, free_bytes, translate_error

LIST_FILE, FOLDER = "pins.json", "pins"
MAX_COPIES = 3
REASON_MAX_CHARS = 200

log = structlog.get_logger()


@dataclass(frozen=True)
class RestorePoint:
    """State of the database at one time; `txid` is 0 when litestream did not answer."""

    id: str
    txid: int
    schema: int
    at: str  # 2025-01-31T12:00:00Z
    reason: str


def create_restore_point(
    database: Path,
    reason: str,
    read_txid: ReadTxid = unknown_txid,
    *,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> RestorePoint:
    """Copy the database and add the copy to the list; blocks, writers wait for milliseconds.

    Raises NotFound when there is no database, DatabaseFull when there is no room for the copy,
    Overloaded when another connection holds the write lock.
    """
    if not database.exists():
        raise NotFound(what=f"database at {database}")
    with lock_migrations(database):
        return create_locked(database, reason, read_txid, now())


def make_migration_hook(read_txid: ReadTxid) -> BeforeMigration:
    """Return the hook that creates a restore point before a migration; see `store.db`."""

    def create_before_migration(database: Path, schema: int) -> None:
        reason = f"before migration to {schema}"
        create_locked(database, reason, read_txid, datetime.now(UTC))

    return create_before_migration


def create_locked(database: Path, reason: str, read_txid: ReadTxid, now: datetime) -> RestorePoint:
    """Do what `create_restore_point` does; the caller holds `lock_migrations`."""
    if free_bytes(database) < consistent_copy.size_bytes(database) + MIN_FREE_BYTES:
        raise DatabaseFull(path=database)
    try:
        with consistent_copy.open_read_transaction(database, read_txid) as read:
            name = f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"
            at = f"{now:%Y-%m-%dT%H:%M:%SZ}"
            point = RestorePoint(name, read.txid, read.schema, at, reason[:REASON_MAX_CHARS])
            target = copy_path(database, point)
            target.parent.mkdir(mode=0o770, exist_ok=True)  # restored by other users of the group
            consistent_copy.copy_database(read.connection, target)
    except sqlite3.Error as error:
        raise translate_error(error, database) from error
    _write_list(database, [*list_restore_points(database), point])
    _delete_old_copies(database)
    log.info(
        "restore_point", id=point.id, txid=point.txid, schema=point.schema, reason=point.reason
    )
    return point


def list_restore_points(database: Path) -> list[RestorePoint]:
    """Return all restore points, oldest first; empty when the list is unreadable."""
    try:
        found = json.loads((database.parent / LIST_FILE).read_text(encoding="utf-8"))
        return [RestorePoint(**entry) for entry in found["pins"]]
    except FileNotFoundError:
        return []
    except (ValueError, TypeError, KeyError) as error:
        # The services must start without the list: it is needed for a rollback only.
        log.warning("restore_points_unreadable", code="internal", reason=str(error))
        return []


def newest(database: Path) -> RestorePoint | None:
    """Return the last restore point, None when there is none."""
    return next(reversed(list_restore_points(database)), None)


def find(database: Path, restore_point_id: str) -> RestorePoint:
    """Return the restore point with this id; raises NotFound."""
    for point in list_restore_points(database):
        if point.id == restore_point_id:
            return point
    raise NotFound(what=f"restore point {restore_point_id!r} (`barnabee backup status` lists them)")


def copy_path(database: Path, point: RestorePoint) -> Path:
    """Return the path of a restore point's copy, which is deleted when newer ones exist."""
    return database.parent / FOLDER / f"{point.id}.db"


def _write_list(database: Path, points: list[RestorePoint]) -> None:
    text = json.dumps({"pins": [asdict(point) for point in points]}, indent=2)
    write_atomically(database.parent / LIST_FILE, text + "\n", durable=True)


def _delete_old_copies(database: Path) -> None:
    """Delete all copies except the newest; their list entries stay."""
    kept = {copy_path(database, point) for point in list_restore_points(database)[-MAX_COPIES:]}
    for file in (database.parent / FOLDER).glob("*.db"):
        if file not in kept:
            with suppress(OSError):
                file.unlink()
