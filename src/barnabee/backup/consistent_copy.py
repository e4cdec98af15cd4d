"""Consistent copy of the live database at one known replica transaction.

Litestream's transaction id belongs to what litestream last read from the log. So the write lock is
taken, litestream syncs, a second connection starts a read transaction, and the lock is released.
That connection sees what the replica holds under that id. Writers wait for a few milliseconds.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from barnabee.core.errors import DependencyDown
from barnabee.core.files import sync_file
from barnabee.store import sqlite

# Returns the transaction id of what is in the database now, 0 when it is unknown.
ReadTxid = Callable[[], int]
# (bytes done, bytes in all or 0)
ByteProgress = Callable[[int, int], None]

_BUSY_TIMEOUT_S = 5.0
_RETRY_S = 0.25
_PAGES_PER_STEP = 1024  # 4 MiB between two calls of `on_progress`


@dataclass(frozen=True)
class ReadTransaction:
    """A connection in a read transaction, with its transaction id and schema."""

    connection: sqlite3.Connection
    txid: int
    schema: int


def unknown_txid() -> int:
    """Return 0: no litestream replicates this database."""
    return 0


@contextmanager
def open_read_transaction(
    database: Path, read_txid: ReadTxid = unknown_txid
) -> Iterator[ReadTransaction]:
    """Hold a read transaction on `database` for the block; writers are blocked at its start only.

    Raises sqlite3.Error and what `read_txid` raises.
    """
    with (
        closing(connect_live(database, "rw")) as lock,
        closing(connect_live(database, "ro")) as reader,
    ):
        lock.execute("BEGIN IMMEDIATE")
        try:
            txid = read_txid()
            reader.execute("BEGIN")
            # BEGIN alone reads nothing yet: this statement starts the transaction.
            schema = int(reader.execute("PRAGMA user_version").fetchone()[0])
        finally:
            lock.execute("ROLLBACK")
        yield ReadTransaction(reader, txid, schema)


def copy_at_transaction(database: Path, target: Path, read_txid: ReadTxid, limit_s: float) -> int:
    """Copy the live `database` to `target`; return its transaction id.

    `read_txid` is asked again for `limit_s` while it raises DependencyDown, but not when litestream
    does not run.
    """
    deadline_s = time.monotonic() + limit_s
    while True:
        try:
            read_txid()  # what litestream has to write is written before it is locked out
            with open_read_transaction(database, read_txid) as read:
                copy_database(read.connection, target, durable=False)
                return read.txid
        except DependencyDown as error:
            is_gone = isinstance(error.__cause__, ConnectionError | FileNotFoundError)
            if is_gone or time.monotonic() > deadline_s:
                raise
            time.sleep(_RETRY_S)


def copy_database(
    source: sqlite3.Connection,
    target: Path,
    *,
    on_progress: ByteProgress = lambda _done, _total: None,
    durable: bool = True,
) -> None:
    """Write what `source` sees to the file `target`, which appears complete or not at all.

    The pages are the same, apart from some fields of the header.
    """
    scratch = target.with_name(f".{target.name}.part")
    scratch.unlink(missing_ok=True)
    try:
        scratch.touch(mode=0o660)
        page_bytes = int(source.execute("PRAGMA page_size").fetchone()[0])

        def after_step(_status: int, remaining: int, total: int) -> None:
            on_progress((total - remaining) * page_bytes, total * page_bytes)

        with closing(sqlite3.connect(scratch, isolation_level=None)) as made:
            made.execute("PRAGMA synchronous = OFF")  # synced once, below
            source.backup(made, pages=_PAGES_PER_STEP, progress=after_step, sleep=0)
            made.execute("PRAGMA journal_mode = DELETE")
        if durable:
            sync_file(scratch)
        scratch.replace(target)
    finally:
        scratch.unlink(missing_ok=True)


def size_bytes(database: Path) -> int:
    """Return the largest size that a copy of `database` may have: the file and its log."""
    log_file = database.with_name(f"{database.name}-wal")
    return sum(file.stat().st_size for file in (database, log_file) if file.exists())


def connect_live(path: Path, mode: str) -> sqlite3.Connection:
    """Return a connection to a live database that does not checkpoint it; `mode` is ro or rw."""
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    connection = sqlite3.connect(
        uri, uri=True, isolation_level=None, timeout=_BUSY_TIMEOUT_S, check_same_thread=False
    )
    sqlite.disable_autocheckpoint(connection)
    return connection
