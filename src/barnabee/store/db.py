"""The SQLite database: one thread writes, one reads, and every failure has one of our codes.

Plain `sqlite3` on two threads of its own is the fastest thing that keeps the event loop free.
Write-ahead logging lets the other processes (api, worker, litestream) read while one writes.
Knows no table.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path

from barnabee.backup import restore_points
from barnabee.backup.consistent_copy import AskTxid, nobody_knows
from barnabee.core.errors import (
    BarnabeeError,
    DatabaseCorrupt,
    DatabaseFull,
    DatabaseReadOnly,
    DependencyDown,
    SettingInvalid,
)
from barnabee.store import fence, migrations
from barnabee.store.connection import Lane, T, Work, connect
from barnabee.store.sqlite_errors import (
    MIN_FREE_BYTES,
    explain,
    free_bytes,
    make_for_the_group,
    writable,
)

BUSY_TIMEOUT_MS = 5000
# How often a starting process asks for the lock that another starting process holds.
_RETRY_EVERY_S = 0.02


async def open_database(
    path: Path,
    *,
    busy_timeout_ms: int = BUSY_TIMEOUT_MS,
    may_write: fence.Fence = fence.nobody,
    ask_txid: AskTxid = nobody_knows,
) -> Database:
    """Check, migrate and open the database at `path`, which is made when it is not there.

    `may_write` is asked before anything is changed, and again before it is for good. Raises
    DatabaseCorrupt and DatabaseTooNew before a byte was changed, DatabaseReadOnly, DatabaseFull,
    DatabaseMismatch, NotTheHolder, or SettingInvalid when the directory is missing (a data disk
    that is not mounted must not be replaced by an empty database).
    """
    await asyncio.to_thread(prepare, path, busy_timeout_ms, ask_txid, may_write)
    database = Database(path, busy_timeout_ms=busy_timeout_ms, may_write=may_write)
    await database.connect()
    return database


class Database:
    """An open database; made by `open_database`."""

    def __init__(
        self,
        path: Path,
        *,
        busy_timeout_ms: int = BUSY_TIMEOUT_MS,
        may_write: fence.Fence = fence.nobody,
    ) -> None:
        """Remember the file; `connect` follows."""
        self.path = path
        self._may_write = may_write
        self._file_id = _file_id(path)
        self._reading = Lane(path, "database-read", busy_timeout_ms, query_only=True)
        self._writing = Lane(path, "database-write", busy_timeout_ms, query_only=False)

    async def connect(self) -> None:
        """Open both connections now: an open file's identity cannot pass to another file."""
        try:
            for lane in (self._reading, self._writing):
                await lane.run(lambda _: None)
        except BarnabeeError:
            await self.close()
            raise

    async def read(self, work: Work[T]) -> T:
        """Return what `work` reads; all it reads is of one moment."""
        return await self._on(
            self._reading, lambda connection: _transaction(connection, "BEGIN", work)
        )

    async def write(self, work: Work[T]) -> T:
        """Return what `work` returns, all of it written or nothing."""
        return await self._on(self._writing, lambda connection: self._write(connection, work))

    async def check(self) -> None:
        """Return when the database can be read and written; raise what is wrong otherwise.

        Asks the file system too, because a file that was opened before the disk became read-only
        goes on accepting writes for a while.
        """
        await self._on(self._reading, lambda db: db.execute("SELECT 1 FROM migrations"))
        await self._on(self._writing, self._try_writing)

    async def close(self) -> None:
        """Finish what is being written and close both connections."""
        await self._reading.close()
        await self._writing.close()

    async def _on(self, lane: Lane, work: Work[T]) -> T:
        try:
            return await lane.run(work)
        except (DatabaseReadOnly, DependencyDown):
            # What SQLite opened while the disk was read-only stays so, and both connections of a
            # process share it: only opening both anew sees that the disk is mended.
            for one in (self._reading, self._writing):
                await one.drop()
            raise

    def _write(self, connection: sqlite3.Connection, work: Work[T]) -> T:
        self._require_same_file()
        self._may_write()
        return _transaction(connection, "BEGIN IMMEDIATE", work, self._may_write)

    def _try_writing(self, connection: sqlite3.Connection) -> None:
        self._require_same_file()
        if not writable(self.path):
            raise DatabaseReadOnly(path=self.path)
        if free_bytes(self.path) < MIN_FREE_BYTES:
            raise DatabaseFull(path=self.path)
        # BEGIN IMMEDIATE alone succeeds on a connection that can only read; this change does not,
        # and taking it back leaves no trace in the log, so that nothing is replicated either.
        connection.execute("BEGIN IMMEDIATE")
        try:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            connection.execute(f"PRAGMA user_version = {version:d}")
        finally:
            connection.execute("ROLLBACK")

    def _require_same_file(self) -> None:
        """Refuse to write to a file that nobody will find again."""
        if _file_id(self.path) != self._file_id:
            raise DatabaseCorrupt(path=self.path, reason="the file was removed or replaced")


def prepare(
    path: Path,
    busy_timeout_ms: int = BUSY_TIMEOUT_MS,
    ask_txid: AskTxid = nobody_knows,
    may_write: fence.Fence = fence.nobody,
    *,
    checked_copy: bool = False,
) -> None:
    """Check and migrate the database at `path` without opening it; raises as `open_database`.

    What is there is pinned before it is migrated, and not migrated when it cannot be. A copy that
    was fully checked just now needs no second look and no pin.
    """
    if not path.parent.is_dir():
        hint = "create the directory, or mount the data disk"
        raise SettingInvalid(name="DATABASE_PATH", reason=f"{path.parent} is missing", hint=hint)
    steps = migrations.known()
    try:
        if not checked_copy:
            there = path.exists() and path.stat().st_size
            if not there or _look_without_touching(path, steps) < len(steps):
                may_write()
            make_for_the_group(path)
        with closing(connect(path, busy_timeout_ms, mode="rwc")) as connection:
            _use_write_ahead_log(connection, busy_timeout_ms)
            version = migrations.refuse_unknown(connection, steps, str(path))
            if not checked_copy and 0 < version < len(steps):
                _pin_first(connection, path, steps, ask_txid)
            migrations.apply(connection, steps, str(path))
    except sqlite3.Error as error:
        raise explain(error, path) from error


def _pin_first(
    connection: sqlite3.Connection,
    path: Path,
    steps: tuple[migrations.Migration, ...],
    ask_txid: AskTxid,
) -> None:
    """Pin and migrate while no other process does, so that what is pinned is the old schema."""
    with restore_points.alone(path):
        version = migrations.refuse_unknown(connection, steps, str(path))
        if version < len(steps):  # nobody was faster
            restore_points.take(
                path, f"before migration to {len(steps)}", ask_txid, datetime.now(UTC)
            )
            migrations.apply(connection, steps, str(path))


def _look_without_touching(path: Path, steps: tuple[migrations.Migration, ...]) -> int:
    """Refuse a damaged or newer file without changing it; return its schema's number."""
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            raise DatabaseCorrupt(path=path, reason=" ".join(str(found).split()))
        return migrations.refuse_unknown(connection, steps, str(path))


def _use_write_ahead_log(connection: sqlite3.Connection, busy_timeout_ms: int) -> None:
    """Turn WAL on; SQLite does not wait for a lock here, so two starting processes take turns."""
    deadline_s = time.monotonic() + busy_timeout_ms / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            busy = getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY
            if not busy or time.monotonic() > deadline_s:
                raise
            time.sleep(_RETRY_EVERY_S)
        else:
            return


def _transaction(
    connection: sqlite3.Connection,
    begin: str,
    work: Work[T],
    may_commit: fence.Fence = fence.nobody,
) -> T:
    connection.execute(begin)
    try:
        result = work(connection)
        may_commit()  # waiting for the lock may have taken longer than the permit lasts
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):  # SQLite may have rolled back by itself (disk full)
            connection.execute("ROLLBACK")
        raise
    return result


def _file_id(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino
