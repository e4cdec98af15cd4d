"""What SQLite's errors mean, and what the disk under a database says about itself."""

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


def explain(error: sqlite3.Error, path: Path) -> BarnabeeError | sqlite3.Error:
    """Return our name for what SQLite says; a mistake in the program stays what it is."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
        return DatabaseCorrupt(path=path, reason=str(error))
    if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return Overloaded(what="the database", retry_after_s=1)
    if not isinstance(error, sqlite3.OperationalError) or code == sqlite3.SQLITE_ERROR:
        return error  # wrong SQL, a broken constraint, a misuse
    return _explain_disk(error, code, path)


def _explain_disk(error: sqlite3.Error, code: int, path: Path) -> BarnabeeError:
    """Ask the file system, because SQLite calls many things an I/O error."""
    full, read_only = code == sqlite3.SQLITE_FULL, code == sqlite3.SQLITE_READONLY
    with suppress(OSError):
        full = full or free_bytes(path) < MIN_FREE_BYTES
        read_only = read_only or not writable(path)
    if read_only:
        return DatabaseReadOnly(path=path, retry_after_s=30)
    if full:
        return DatabaseFull(path=path, retry_after_s=30)
    return DependencyDown(dependency="database", reason=str(error), retry_after_s=5)


def make_for_the_group(path: Path) -> None:
    """Make the database's file before SQLite does, whose own mode lets the group only read.

    Under systemd api, worker and litestream are users of one group, and all of them write.
    """
    with suppress(OSError):  # SQLite says what is wrong
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, SHARED_MODE))


def writable(path: Path) -> bool:
    """Return whether the file and its directory can be written as far as the disk says."""
    read_only_mount = os.statvfs(path.parent).f_flag & os.ST_RDONLY
    there = [one for one in (path, path.parent) if one.exists()]
    return not read_only_mount and all(os.access(one, os.W_OK) for one in there)


def free_bytes(path: Path) -> int:
    """Return how many bytes anybody but root may still write beside `path`."""
    found = os.statvfs(path.parent)
    return found.f_bavail * found.f_frsize
