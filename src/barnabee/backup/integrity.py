"""Whether a database file is sound: SQLite's full checks, and the application itself.

Works on a file that nobody else has open, such as a restored copy.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from barnabee.backup import checksums
from barnabee.backup.checksums import Content
from barnabee.backup.cpu_limit import Pace
from barnabee.core.errors import BarnabeeError
from barnabee.store import db

_FAULTS_TOLD = 5
# Reading through the page cache instead of by calls: a third less processor time.
_MMAP_BYTES = 0x7FFF0000


def check(path: Path, pace: Pace | None = None) -> None:
    """Raise ValueError with what is wrong with the database file at `path` (blocks)."""
    try:
        with closing(_look(path)) as connection:
            if pace is not None:
                pace.hold(connection)
            faults = connection.execute(f"PRAGMA integrity_check({_FAULTS_TOLD})")
            found = [row[0] for row in faults]
            if found != ["ok"]:
                raise ValueError("; ".join(map(str, found)))
            broken = connection.execute("PRAGMA foreign_key_check").fetchone()
            if broken is not None:
                raise ValueError(f"a row of {broken[0]} refers to one of {broken[2]} that is gone")
    except sqlite3.Error as error:
        raise ValueError(str(error)) from error


def read(path: Path, pace: Pace | None = None) -> Content:
    """Return what the file holds; ValueError when it cannot be read (blocks)."""
    try:
        with closing(_look(path)) as connection:
            if pace is None:
                return checksums.read(connection)
            pace.hold(connection)
            return checksums.read(connection, pace.pause)
    except sqlite3.Error as error:
        raise ValueError(str(error)) from error


def counts(path: Path) -> dict[str, int]:
    """Return how many rows each table of the file has; ValueError when it cannot be read."""
    try:
        with closing(_look(path)) as connection:
            return checksums.counts(connection)
    except sqlite3.Error as error:
        raise ValueError(str(error)) from error


def open_with_application(path: Path) -> int:
    """Open the file as the services do, migrations and all; return its schema then.

    It was checked before, and is changed by this if it is of an older schema. ValueError when the
    program refuses it.
    """
    try:
        db.prepare(path, checked_copy=True)
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            turns = connection.execute("SELECT count(*) FROM turns").fetchone()[0]
            newest = connection.execute(
                "SELECT count(*) FROM (SELECT * FROM turns ORDER BY created_at DESC LIMIT 50)"
            ).fetchone()[0]
            if bool(turns) != bool(newest):
                raise ValueError("its turns cannot be read in the order of time")
            # Back to one file: what was restored is moved as such.
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            connection.execute("PRAGMA journal_mode = DELETE")
            return int(connection.execute("PRAGMA user_version").fetchone()[0])
    except (BarnabeeError, sqlite3.Error) as error:
        raise ValueError(str(error)) from error


def _look(path: Path) -> sqlite3.Connection:
    # immutable: nobody else has this file, and none is made beside it
    uri = f"{path.absolute().as_uri()}?immutable=1"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None)
    connection.execute(f"PRAGMA mmap_size = {_MMAP_BYTES}")
    return connection
