"""Places to return to: what the database was before a migration, or when somebody asked for it.

    <data>/pins.json        the list, oldest first
    <data>/pins/<id>.db     the database of that moment, as a whole

A pin has the replica's transaction id of its moment. The replica alone cannot promise to bring that
very moment back: litestream joins transactions after some minutes, and then only some of their ends
can be restored. So a copy is kept here too, the newest few, and `rollback` takes it.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import structlog

from barnabee.backup import consistent_copy
from barnabee.backup.consistent_copy import AskTxid, nobody_knows
from barnabee.core.errors import DatabaseFull, NotFound
from barnabee.store.sqlite_errors import MIN_FREE_BYTES, explain, free_bytes

LIST, FOLDER, LOCK = "pins.json", "pins", ".pins.lock"
COPIES_KEPT = 3
REASON_MAX_CHARS = 200

log = structlog.get_logger()


@dataclass(frozen=True)
class Pin:
    """One moment of the database; `txid` is 0 when litestream could not be asked."""

    id: str
    txid: int
    schema: int
    at: str  # 2025-01-31T12:00:00Z
    reason: str


def pin(
    database: Path,
    reason: str,
    ask_txid: AskTxid = nobody_knows,
    *,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Pin:
    """Remember this moment and keep a copy of it; blocks, writers hardly notice.

    Raises NotFound when there is no database, DatabaseFull when there is no room for the copy,
    Overloaded when somebody else keeps the write lock.
    """
    if not database.exists():
        raise NotFound(what=f"database at {database}")
    with alone(database):
        return take(database, reason, ask_txid, now())


def take(database: Path, reason: str, ask_txid: AskTxid, now: datetime) -> Pin:
    """Do what `pin` does, for whoever is `alone` already."""
    if free_bytes(database) < consistent_copy.size_bytes(database) + MIN_FREE_BYTES:
        raise DatabaseFull(path=database)
    try:
        with consistent_copy.held(database, ask_txid) as seen:
            name = f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"
            at = f"{now:%Y-%m-%dT%H:%M:%SZ}"
            found = Pin(name, seen.txid, seen.schema, at, reason[:REASON_MAX_CHARS])
            target = copy_of(database, found)
            target.parent.mkdir(mode=0o770, exist_ok=True)  # whoever restores is of the group
            consistent_copy.copy(seen.connection, target)
    except sqlite3.Error as error:
        raise explain(error, database) from error
    _write(database, [*every(database), found])
    _forget_copies(database)
    log.info("pinned", pin=found.id, txid=found.txid, schema=found.schema, reason=found.reason)
    return found


def every(database: Path) -> list[Pin]:
    """Return all pins, oldest first."""
    try:
        found = json.loads((database.parent / LIST).read_text(encoding="utf-8"))
        return [Pin(**one) for one in found["pins"]]
    except FileNotFoundError:
        return []
    except (ValueError, TypeError, KeyError) as error:
        # It only names moments: an unreadable list must not keep the house from starting.
        log.warning("pins_unreadable", code="internal", reason=str(error))
        return []


def newest(database: Path) -> Pin | None:
    """Return the last pin, None when there is none."""
    return next(reversed(every(database)), None)


def find(database: Path, pin_id: str) -> Pin:
    """Return the pin with this id; NotFound otherwise."""
    for one in every(database):
        if one.id == pin_id:
            return one
    raise NotFound(what=f"pin {pin_id!r} (`barnabee backup status` lists them)")


def copy_of(database: Path, one: Pin) -> Path:
    """Return where the copy of a pin lies; it may be gone, when there are newer ones."""
    return database.parent / FOLDER / f"{one.id}.db"


@contextmanager
def alone(database: Path) -> Iterator[None]:
    """Hold back other processes that would pin or migrate now."""
    handle = os.open(database.parent / LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o660)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _write(database: Path, all_of_them: list[Pin]) -> None:
    path = database.parent / LIST
    scratch = path.with_suffix(".new")
    text = json.dumps({"pins": [asdict(one) for one in all_of_them]}, indent=2)
    with scratch.open("w", encoding="utf-8") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(path)


def _forget_copies(database: Path) -> None:
    """Delete all copies but the newest few; the list keeps the moments."""
    kept = {copy_of(database, one) for one in every(database)[-COPIES_KEPT:]}
    for file in (database.parent / FOLDER).glob("*.db"):
        if file not in kept:
            with suppress(OSError):
                file.unlink()
