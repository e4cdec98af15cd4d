"""The place where the database lies: what is in it is exchanged in one step, and never deleted."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from barnabee.store.sqlite_errors import SHARED_MODE


def taken(path: Path) -> bool:
    """Return whether there is a database: a file of 0 bytes is none."""
    return path.exists() and path.stat().st_size > 0


def move_aside(path: Path, now: datetime) -> Path | None:
    """Move the database and everything that belongs to it into a folder of its own; return it.

    Its log and litestream's own notes go too: beside another database they would spoil it.
    """
    parts = [path, *(path.with_name(path.name + end) for end in ("-wal", "-shm", "-journal"))]
    parts.append(path.with_name(f".{path.name}-litestream"))
    there = [part for part in parts if part.exists()]
    if not there:
        return None
    folder = path.parent / f"{path.name}.before-restore-{now:%Y%m%dT%H%M%S.%fZ}"
    folder.mkdir(mode=0o700)
    for part in there:
        part.rename(folder / part.name)
    return folder


def exchange(copy: Path, path: Path) -> Path | None:
    """Put `copy` where `path` is, for good: also when the power fails right after.

    Returns where what was there is now. When the copy cannot be put there, that is put back.
    """
    copy.chmod(SHARED_MODE)  # all of the house's users write it
    with copy.open("rb") as file:
        os.fsync(file.fileno())
    aside = move_aside(path, datetime.now(UTC))
    try:
        copy.replace(path)
    except OSError:
        _put_back(aside, path.parent)
        raise
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
    return aside


def _put_back(aside: Path | None, directory: Path) -> None:
    if aside is not None:
        for part in aside.iterdir():
            part.rename(directory / part.name)
        aside.rmdir()


@contextmanager
def seen(database: Path) -> Iterator[sqlite3.Connection]:
    """Give a connection that reads a database whose services are stopped, its log included."""
    uri = f"{database.absolute().as_uri()}?mode=ro"  # so that closing it leaves the log alone
    with closing(sqlite3.connect(uri, uri=True, isolation_level=None, timeout=5)) as connection:
        yield connection
