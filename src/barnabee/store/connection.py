"""SQLite connection on a thread of its own, so that queries do not block the event loop."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from barnabee.core.errors import DependencyDown
from barnabee.store import database_files, sqlite
from barnabee.store.sqlite import translate_error

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]


class ConnectionThread:
    """One connection on one thread, opened when first used."""

    def __init__(self, path: Path, name: str, busy_timeout_ms: int, *, query_only: bool) -> None:
        self._path = path
        self._busy_timeout_ms = busy_timeout_ms
        self._query_only = query_only
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
        self._connection: sqlite3.Connection | None = None
        self._closed = False
        self.log_ids: database_files.LogIds = (None, None)  # when the connection was opened

    def is_closed(self) -> bool:
        """Return whether `close` was called."""
        return self._closed

    async def run(self, work: Work[T]) -> T:
        """Return the result of `work`; SQLite's errors are translated, DependencyDown if closed."""
        if self.is_closed():
            raise _closed_error()
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._run, work)
        except asyncio.CancelledError:
            if self.is_closed() and not _is_task_cancelled():
                raise _closed_error() from None  # `close` cancelled the queued work
            raise

    async def disconnect(self) -> None:
        """Close the connection; the next `run` opens a new one."""
        if not self.is_closed():
            await asyncio.get_running_loop().run_in_executor(self._thread, self._disconnect)

    async def close(self) -> None:
        """Finish the running work, cancel what is queued and close the connection."""
        if self.is_closed():
            return
        self._closed = True
        await asyncio.to_thread(self._thread.shutdown, wait=True, cancel_futures=True)
        await asyncio.to_thread(self._disconnect)

    def _run(self, work: Work[T]) -> T:
        try:
            if self._connection is None:
                self._connection = open_connection(self._path, self._busy_timeout_ms, mode="rw")
                if self._query_only:
                    self._connection.execute("PRAGMA query_only = ON")
                self._connection.execute("SELECT 1 FROM sqlite_schema").fetchone()  # opens the log
                self.log_ids = database_files.log_ids(self._path)
            return work(self._connection)
        except sqlite3.Error as error:
            raise translate_error(error, self._path) from error

    def _disconnect(self) -> None:
        if self._connection is not None:
            with suppress(sqlite3.Error):  # a full disk must not keep the process from ending
                self._connection.close()
            self._connection = None


def _is_task_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _closed_error() -> DependencyDown:
    return DependencyDown(dependency="database", reason="it was closed", retry_after_s=1)


def open_connection(path: Path, busy_timeout_ms: int, *, mode: str) -> sqlite3.Connection:
    """Return a connection with this application's pragmas; `mode` rw, or rwc to create the file."""
    uri = f"{path.absolute().as_uri()}?mode={mode}"  # rw, unlike rwc, never makes an empty file
    connection = sqlite3.connect(
        uri,
        uri=True,
        isolation_level=None,
        timeout=busy_timeout_ms / 1000,
        check_same_thread=False,  # closed by another thread than the one that used it
    )
    connection.execute("PRAGMA foreign_keys = ON")
    # The job of a turn is removed from Redis after the commit: a power cut must not undo it.
    connection.execute("PRAGMA synchronous = FULL")
    sqlite.disable_autocheckpoint(connection)
    connection.row_factory = sqlite3.Row
    return connection
