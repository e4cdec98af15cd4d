"""One connection to the database on one thread of its own, so that the event loop stays free.

Knows no table, and not what its work is for.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from barnabee.core.errors import DependencyDown
from barnabee.store.sqlite_errors import explain

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]


class Lane:
    """One connection on one thread, made when first used."""

    def __init__(self, path: Path, name: str, busy_timeout_ms: int, *, query_only: bool) -> None:
        """Remember the file; nothing is opened yet."""
        self._path = path
        self._busy_timeout_ms = busy_timeout_ms
        self._query_only = query_only
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
        self._connection: sqlite3.Connection | None = None
        self._ended = False

    def ended(self) -> bool:
        """Return whether `close` was called."""
        return self._ended

    async def run(self, work: Work[T]) -> T:
        """Return what `work` returns; errors have our codes, DependencyDown after `close`."""
        if self.ended():
            raise _closed()
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._do, work)
        except asyncio.CancelledError:
            if self.ended() and not _being_cancelled():
                raise _closed() from None  # its turn had not come when `close` was called
            raise

    async def drop(self) -> None:
        """Close the connection; the next work opens another."""
        if not self.ended():
            await asyncio.get_running_loop().run_in_executor(self._thread, self._close)

    async def close(self) -> None:
        """Wait for the work in hand only: what still waits for a lock is told that it is over."""
        if self.ended():
            return
        self._ended = True
        await asyncio.to_thread(self._thread.shutdown, wait=True, cancel_futures=True)
        await asyncio.to_thread(self._close)

    def _do(self, work: Work[T]) -> T:
        try:
            if self._connection is None:
                self._connection = connect(self._path, self._busy_timeout_ms, mode="rw")
                if self._query_only:
                    self._connection.execute("PRAGMA query_only = ON")
            return work(self._connection)
        except sqlite3.Error as error:
            raise explain(error, self._path) from error

    def _close(self) -> None:
        if self._connection is not None:
            with suppress(sqlite3.Error):  # a full disk must not keep the process from ending
                self._connection.close()
            self._connection = None


def _being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _closed() -> DependencyDown:
    return DependencyDown(dependency="database", reason="it was closed", retry_after_s=1)


def connect(path: Path, busy_timeout_ms: int, *, mode: str) -> sqlite3.Connection:
    """Return a connection with the pragmas of this house; `mode`: rw, or rwc to make the file."""
    uri = f"{path.absolute().as_uri()}?mode={mode}"  # rw, unlike rwc, never makes an empty file
    wait_s = busy_timeout_ms / 1000
    connection = sqlite3.connect(
        uri,
        uri=True,
        isolation_level=None,
        timeout=wait_s,
        check_same_thread=False,  # closed by another thread than the one that used it
    )
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA synchronous = NORMAL")
    # Only litestream empties the log, because only it knows what it has copied: emptied by
    # anybody else while it is away, the replica goes bad in silence (docs/reference/store.md).
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    connection.row_factory = sqlite3.Row
    return connection
