"""The living database at one known transaction, and a copy of it.

Litestream's transaction id belongs to what its last look found in the log. So: the write lock is
taken, litestream looks, a second connection begins to read, and the lock is given back. What that
connection sees is what the replica holds under that id. Writers wait for a few milliseconds.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

# Returns the transaction id of what is in the database now, 0 when nobody can say.
AskTxid = Callable[[], int]
# (bytes done, bytes in all)
Progress = Callable[[int, int], None]

_BUSY_TIMEOUT_S = 5.0
# Pages copied between two looks at the pace: 4 MiB.
_PAGES = 1024


@dataclass(frozen=True)
class Moment:
    """A connection that sees one moment, and what that moment is called."""

    connection: sqlite3.Connection
    txid: int
    schema: int


def nobody_knows() -> int:
    """Return the transaction id of a database that nobody streams."""
    return 0


@contextmanager
def held(database: Path, ask_txid: AskTxid = nobody_knows) -> Iterator[Moment]:
    """Give this moment of `database` for as long as the block lasts; writers go on after the start.

    Raises what SQLite raises, and whatever `ask_txid` does.
    """
    with closing(connect(database, "rw")) as lock, closing(connect(database, "ro")) as reader:
        lock.execute("BEGIN IMMEDIATE")
        try:
            txid = ask_txid()
            reader.execute("BEGIN")
            schema = int(reader.execute("PRAGMA user_version").fetchone()[0])  # now it has begun
        finally:
            lock.execute("ROLLBACK")
        yield Moment(reader, txid, schema)


def copy(
    source: sqlite3.Connection,
    target: Path,
    *,
    pause: Callable[[], None] = lambda: None,
    progress: Progress = lambda _done, _all: None,
) -> None:
    """Write what `source` sees to the file `target`, which appears as a whole or not at all."""
    scratch = target.with_name(f".{target.name}.part")
    scratch.unlink(missing_ok=True)
    try:
        scratch.touch(mode=0o660)
        page_bytes = int(source.execute("PRAGMA page_size").fetchone()[0])

        def look(_status: int, left: int, in_all: int) -> None:
            progress((in_all - left) * page_bytes, in_all * page_bytes)
            pause()

        with closing(sqlite3.connect(scratch, isolation_level=None)) as made:
            made.execute("PRAGMA synchronous = OFF")  # synced once, below
            source.backup(made, pages=_PAGES, progress=look, sleep=0)
            made.execute("PRAGMA journal_mode = DELETE")
        durable(scratch)
        scratch.replace(target)
    finally:
        scratch.unlink(missing_ok=True)


def durable(path: Path) -> None:
    """Return when what is in the file or directory `path` survives a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def size_bytes(database: Path) -> int:
    """Return how large a copy of `database` may be: the file and what is in its log."""
    log_file = database.with_name(f"{database.name}-wal")
    return sum(file.stat().st_size for file in (database, log_file) if file.exists())


def connect(path: Path, mode: str) -> sqlite3.Connection:
    """Return a connection to a living database that leaves its log alone; `mode`: ro or rw."""
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    connection = sqlite3.connect(
        uri, uri=True, isolation_level=None, timeout=_BUSY_TIMEOUT_S, check_same_thread=False
    )
    connection.execute("PRAGMA wal_autocheckpoint = 0")  # as in `db`: only litestream empties it
    return connection
