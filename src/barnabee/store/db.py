"""SQLite database with one writing and one reading thread; every failure has one of our codes.

Plain `sqlite3` on two threads is the fastest way that does not block the event loop. In WAL mode
other processes (api, worker, litestream) read while one writes.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

from barnabee.core.errors import (
    BarnabeeError,
    DatabaseCorrupt,
    DatabaseFull,
    DatabaseReadOnly,
    DependencyDown,
    SettingInvalid,
)
from barnabee.store import database_files, fence, migrations
from barnabee.store.connection import ConnectionThread, T, Work, open_connection
from barnabee.store.sqlite import (
    MIN_FREE_BYTES,
    create_shared_file,
    free_bytes,
    is_writable,
    translate_error,
)

BUSY_TIMEOUT_MS = 5000
_LOCK_POLL_S = 0.02

# Called with the database and the schema it is about to be migrated to, while
# `migrations.lock_migrations` is held. An exception prevents the migration. The services pass
# `backup.restore_points.make_migration_hook`.
BeforeMigration = Callable[[Path, int], object]


async def open_database(
    path: Path,
    *,
    busy_timeout_ms: int = BUSY_TIMEOUT_MS,
    check_fence: fence.Fence = fence.no_fence,
    before_migration: BeforeMigration | None = None,
) -> Database:
    """Check, migrate and open the database at `path`; create it when it does not exist.

    `check_fence` is called before each change and again before its commit. Raises DatabaseCorrupt
    and DatabaseTooNew before anything was changed, DatabaseReadOnly, DatabaseFull,
    DatabaseMismatch, LeaseNotHeld, or SettingInvalid when the directory is missing (an empty
    database must not replace a data disk that is not mounted).
    """
    await asyncio.to_thread(prepare_database, path, busy_timeout_ms, before_migration, check_fence)
    database = Database(path, busy_timeout_ms=busy_timeout_ms, check_fence=check_fence)
    await database.connect()
    return database


class Database:
    """An open database; made by `open_database`."""

    def __init__(
        self,
        path: Path,
        *,
        busy_timeout_ms: int = BUSY_TIMEOUT_MS,
        check_fence: fence.Fence = fence.no_fence,
    ) -> None:
        self.path = path
        self._check_fence = check_fence
        self._file_id = database_files.file_id(path)
        self._reader = ConnectionThread(path, "database-read", busy_timeout_ms, query_only=True)
        self._writer = ConnectionThread(path, "database-write", busy_timeout_ms, query_only=False)

    async def connect(self) -> None:
        """Open both connections now, while `path` is still the file that was checked."""
        try:
            for thread in (self._reader, self._writer):
                await thread.run(lambda _: None)
        except BarnabeeError:
            await self.close()
            raise

    async def read(self, work: Work[T]) -> T:
        """Return the result of `work`, which runs in one read transaction."""
        return await self._run_on(
            self._reader, lambda connection: _run_transaction(connection, "BEGIN", work)
        )

    async def write(self, work: Work[T]) -> T:
        """Return the result of `work`, which runs in one write transaction.

        Once it has returned, what it wrote survives a power cut.
        """
        return await self._run_on(self._writer, lambda connection: self._write(connection, work))

    async def check(self) -> None:
        """Raise what is wrong when the database cannot be read and written.

        Asks the file system too: a file that was opened before its disk became read-only accepts
        writes for a while.
        """
        await self._run_on(self._reader, lambda db: db.execute("SELECT 1 FROM migrations"))
        await self._run_on(self._writer, self._require_writable)

    async def close(self) -> None:
        """Finish the running work and close both connections."""
        await self._reader.close()
        await self._writer.close()

    async def _run_on(self, thread: ConnectionThread, work: Work[T]) -> T:
        try:
            return await thread.run(work)
        except (DatabaseReadOnly, DependencyDown):
            # SQLite keeps a file read-only that it opened while the disk was, and both connections
            # of a process share that state: a repaired disk shows only once both are reopened.
            for opened in (self._reader, self._writer):
                await opened.disconnect()
            raise

    def _write(self, connection: sqlite3.Connection, work: Work[T]) -> T:
        self._require_same_file()
        self._check_fence()

        def work_in_log(opened: sqlite3.Connection) -> T:
            self._require_same_log()
            return work(opened)

        return _run_transaction(connection, "BEGIN IMMEDIATE", work_in_log, self._check_fence)

    def _require_writable(self, connection: sqlite3.Connection) -> None:
        self._require_same_file()
        if not is_writable(self.path):
            raise DatabaseReadOnly(path=self.path)
        if free_bytes(self.path) < MIN_FREE_BYTES:
            raise DatabaseFull(path=self.path)
        # BEGIN IMMEDIATE alone succeeds on a connection that can only read; this change does not.
        # Rolled back, it leaves nothing in the log, so nothing is replicated either.
        connection.execute("BEGIN IMMEDIATE")
        try:
            self._require_same_log()
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            connection.execute(f"PRAGMA user_version = {version:d}")
        finally:
            connection.execute("ROLLBACK")

    def _require_same_file(self) -> None:
        if database_files.file_id(self.path) != self._file_id:
            raise DatabaseCorrupt(path=self.path, reason="the file was removed or replaced")

    def _require_same_log(self) -> None:
        opened = self._writer.log_ids
        if database_files.log_ids(self.path) != opened:
            database_files.put_back_log(self.path, opened)
            reason = "its write-ahead log was removed or replaced"
            raise DependencyDown(dependency="database", reason=reason, retry_after_s=1)


def prepare_database(
    path: Path,
    busy_timeout_ms: int = BUSY_TIMEOUT_MS,
    before_migration: BeforeMigration | None = None,
    check_fence: fence.Fence = fence.no_fence,
    *,
    checked_copy: bool = False,
) -> None:
    """Check and migrate the database at `path` without keeping it open; raises as `open_database`.

    `checked_copy` skips the quick check, the fence and `before_migration`: for a copy that was
    fully checked just now and that no service uses.
    """
    if not path.parent.is_dir():
        hint = "create the directory, or mount the data disk"
        raise SettingInvalid(name="DATABASE_PATH", reason=f"{path.parent} is missing", hint=hint)
    steps = migrations.load_migrations()
    try:
        if not checked_copy:
            database_files.report_missing_frames(path)
            exists = path.exists() and path.stat().st_size
            if not exists or _check_read_only(path, steps) < len(steps):
                check_fence()
            create_shared_file(path)
        with closing(open_connection(path, busy_timeout_ms, mode="rwc")) as connection:
            _enable_wal(connection, busy_timeout_ms)
            if not checked_copy and database_files.count_lost_commits(path):
                connection.execute("BEGIN IMMEDIATE")  # no other process is writing just now
                database_files.keep_damaged_log(path)
                connection.execute("ROLLBACK")
            version = migrations.require_known_schema(connection, steps, str(path))
            if before_migration is not None and not checked_copy and 0 < version < len(steps):
                _migrate_existing(connection, path, steps, before_migration)
            migrations.apply_migrations(connection, steps, str(path))
    except sqlite3.Error as error:
        raise translate_error(error, path) from error


def _migrate_existing(
    connection: sqlite3.Connection,
    path: Path,
    steps: tuple[migrations.Migration, ...],
    before_migration: BeforeMigration,
) -> None:
    """Call the hook and migrate under one lock, so that the hook sees the old schema."""
    with migrations.lock_migrations(path):
        version = migrations.require_known_schema(connection, steps, str(path))
        if version < len(steps):  # no other process migrated while this one waited
            before_migration(path, len(steps))
            migrations.apply_migrations(connection, steps, str(path))


def _check_read_only(path: Path, steps: tuple[migrations.Migration, ...]) -> int:
    """Return the schema of a file without changing it; raises when it is damaged or too new."""
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        result = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if result != "ok":
            raise DatabaseCorrupt(path=path, reason=" ".join(str(result).split()))
        return migrations.require_known_schema(connection, steps, str(path))


def _enable_wal(connection: sqlite3.Connection, busy_timeout_ms: int) -> None:
    """Turn WAL on, polling: SQLite does not wait here for the lock of another starting process."""
    deadline_s = time.monotonic() + busy_timeout_ms / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            busy = getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY
            if not busy or time.monotonic() > deadline_s:
                raise
            time.sleep(_LOCK_POLL_S)
        else:
            return


def _run_transaction(
    connection: sqlite3.Connection,
    begin: str,
    work: Work[T],
    before_commit: Callable[[], None] = fence.no_fence,
) -> T:
    connection.execute(begin)
    try:
        result = work(connection)
        before_commit()  # waiting for the lock may have taken longer than the permit lasts
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):  # SQLite may have rolled back by itself (disk full)
            connection.execute("ROLLBACK")
        raise
    return result
