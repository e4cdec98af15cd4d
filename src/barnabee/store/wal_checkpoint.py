"""WAL checkpoint policy: only litestream checkpoints a live database.

Litestream copies the write-ahead log to the replica before it checkpoints. A checkpoint by any
other connection while litestream is not running discards changes that were not copied, and the
replica becomes unusable without an error (docs/reference/store.md).
"""

from __future__ import annotations

import sqlite3


def disable_autocheckpoint(connection: sqlite3.Connection) -> None:
    """Keep `connection` from checkpointing; required for every connection to a live database."""
    connection.execute("PRAGMA wal_autocheckpoint = 0")


def merge_wal(connection: sqlite3.Connection) -> None:
    """Checkpoint a restored copy and leave WAL mode, so that it is one file that can be moved."""
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.execute("PRAGMA journal_mode = DELETE")
