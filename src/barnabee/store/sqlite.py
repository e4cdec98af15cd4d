"""SQLite's errors as our error classes, and the checkpoint policy of its log.

Litestream copies the write-ahead log to the replica before it checkpoints. A checkpoint by any
other connection while litestream is not running discards changes that were not copied, and the
replica becomes unusable without an error (docs/reference/store.md).
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from pathlib import Path

from barnabee.core.errors import (
    BarnabeeError,
    DatabaseCorrupt,
    DatabaseFull,
    DatabaseReadOnly,
    DependencyDown,
    Overloaded,
)

# Below this the log could no longer grow between two checkpoints of litestream (1000 pages of
# 4 KiB, twice).
MIN_FREE_BYTES = 8 * 1024 * 1024
SHARED_MODE = 0o660


def translate_error(error: sqlite3.Error, path: Path) -> BarnabeeError | sqlite3.Error:
    """Return the error class for `error`; a programming error (wrong SQL) is returned as it is."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
        return DatabaseCorrupt(path=path, reason=str(error))
    if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return Overloaded(what="the database", retry_after_s=1)
    if not isinstance(error, sqlite3.OperationalError) or code == sqlite3.SQLITE_ERROR:
        return error  # wrong SQL, a broken constraint, a misuse
    return _translate_disk_error(error, code, path)


def _translate_disk_error(error: sqlite3.Error, code: int, path: Path) -> BarnabeeError:
    """Ask the file system, because SQLite reports many faults as I/O errors."""
    full, read_only = code == sqlite3.SQLITE_FULL, code == sqlite3.SQLITE_READONLY
    with suppress(OSError):
        full = full or free_bytes(path) < MIN_FREE_BYTES
        read_only = read_only or not is_writable(path)
    if read_only:
        return DatabaseReadOnly(path=path, retry_after_s=30)
    if full:
        return DatabaseFull(path=path, retry_after_s=30)
    return DependencyDown(dependency="database", reason=str(error), retry_after_s=5)


def create_shared_file(path: Path) -> None:
    """Create the database file group-writable; SQLite would make it group-readable only.

    Under systemd api, worker and litestream are users of one group, and all of them write.
    """
    with suppress(OSError):  # SQLite reports the reason
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, SHARED_MODE))


def is_writable(path: Path) -> bool:
    """Return whether the file and its directory can be written, as far as the file system says."""
    read_only_mount = os.statvfs(path.parent).f_flag & os.ST_RDONLY
    existing = [entry for entry in (path, path.parent) if entry.exists()]
    return not read_only_mount and all(os.access(entry, os.W_OK) for entry in existing)


def free_bytes(path: Path) -> int:
    """Return how many bytes a user other than root may still write beside `path`."""
    found = os.statvfs(path.parent)
    return found.f_bavail * found.f_frsize


def disable_autocheckpoint(connection: sqlite3.Connection) -> None:
    """Keep `connection` from checkpointing; required for every connection to a live database."""
    connection.execute("PRAGMA wal_autocheckpoint = 0")


def merge_wal(connection: sqlite3.Connection) -> None:
    """Checkpoint a restored copy and leave WAL mode, so that it is one file that can be moved."""
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.execute("PRAGMA journal_mode = DELETE")
