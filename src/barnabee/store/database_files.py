"""Database file on disk: replaced in one step, and what was there is moved aside, never deleted."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from barnabee.core.files import sync_directory, sync_file
from barnabee.store.sqlite_errors import SHARED_MODE


def has_database(path: Path) -> bool:
    """Return whether `path` is a file of more than 0 bytes."""
    return path.exists() and path.stat().st_size > 0


def move_aside(path: Path, now: datetime) -> Path | None:
    """Move the database with its logs into a new folder and return that; None if there was none.

    Litestream's state is moved too: it does not fit another database.
    """
    candidates = [path, *(path.with_name(path.name + end) for end in ("-wal", "-shm", "-journal"))]
    candidates.append(path.with_name(f".{path.name}-litestream"))
    existing = [candidate for candidate in candidates if candidate.exists()]
    if not existing:
        return None
    folder = path.parent / f"{path.name}.before-restore-{now:%Y%m%dT%H%M%S.%fZ}"
    folder.mkdir(mode=0o700)
    for file in existing:
        file.rename(folder / file.name)
    return folder


def replace_database(copy: Path, path: Path) -> Path | None:
    """Rename `copy` to `path`, durable when this returns.

    Returns the folder of the previous database, None if there was none. On OSError the previous
    database is put back.
    """
    copy.chmod(SHARED_MODE)  # the services run as different users of one group
    sync_file(copy)
    previous = move_aside(path, datetime.now(UTC))
    try:
        copy.replace(path)
    except OSError:
        _undo_move_aside(previous, path.parent)
        raise
    sync_directory(path.parent)
    return previous


def _undo_move_aside(folder: Path | None, directory: Path) -> None:
    if folder is not None:
        for file in folder.iterdir():
            file.rename(directory / file.name)
        folder.rmdir()


@contextmanager
def open_read_only(database: Path) -> Iterator[sqlite3.Connection]:
    """Read a database whose services are stopped, its log included, without checkpointing it."""
    uri = f"{database.absolute().as_uri()}?mode=ro"  # closing a read-only connection keeps the log
    with closing(sqlite3.connect(uri, uri=True, isolation_level=None, timeout=5)) as connection:
        yield connection
