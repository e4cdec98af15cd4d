"""Brings a database from whatever schema it has to the one this program knows.

Each `NNNN_name.sql` beside this file is one step, taken in one transaction together with the row
that records it, so that a process killed half-way leaves the step before. A step that was ever
released is never edited: its checksum is kept in the database and a difference is refused.
"""

from __future__ import annotations

import hashlib
import re
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources

from barnabee.core.errors import DatabaseMismatch, DatabaseTooNew

_NAME = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")
_RECORD = """
CREATE TABLE IF NOT EXISTS migrations (
    number     INTEGER PRIMARY KEY,
    name       TEXT NOT NULL,
    sha256     TEXT NOT NULL,
    applied_at TEXT NOT NULL
) STRICT
"""


@dataclass(frozen=True)
class Migration:
    """One step, from schema `number - 1` to schema `number`."""

    number: int
    name: str
    sql: str

    @property
    def sha256(self) -> str:
        """Return the checksum of the step's text."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def known() -> tuple[Migration, ...]:
    """Return the steps of this program in order; a gap in the numbers is a programming error."""
    found = []
    for file in resources.files(__name__).iterdir():
        match = _NAME.fullmatch(file.name)
        if match:
            found.append(Migration(int(match[1]), match[2], file.read_text(encoding="utf-8")))
    found.sort(key=lambda step: step.number)
    if [step.number for step in found] != list(range(1, len(found) + 1)):
        msg = f"migrations are not numbered 1..n without gaps: {[step.number for step in found]}"
        raise RuntimeError(msg)
    return tuple(found)


def statements(sql: str) -> Iterator[str]:
    """Split `sql` into statements, because `executescript` would commit before each."""
    pending = ""
    for line in sql.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            yield pending
            pending = ""
    if re.sub(r"--[^\n]*", "", pending).strip():
        yield pending


def refuse_unknown(connection: sqlite3.Connection, steps: Sequence[Migration], path: str) -> int:
    """Return the schema's number; DatabaseTooNew or DatabaseMismatch when it is not ours."""
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > len(steps):
        raise DatabaseTooNew(path=path, found=version, known=len(steps))
    if version:
        recorded = dict(connection.execute("SELECT number, sha256 FROM migrations").fetchall())
        for step in steps[:version]:
            if recorded.get(step.number) != step.sha256:
                raise DatabaseMismatch(path=path, name=f"{step.number:04}_{step.name}")
    return version


def apply(connection: sqlite3.Connection, steps: Sequence[Migration], path: str) -> int:
    """Take the steps that are missing and return how many; other processes may do the same now.

    `connection` is in autocommit mode. Whoever gets the write lock first takes the step, the
    others find it taken.
    """
    taken = 0
    while refuse_unknown(connection, steps, path) < len(steps):
        taken += _take_next(connection, steps, path)
    return taken


def _take_next(connection: sqlite3.Connection, steps: Sequence[Migration], path: str) -> int:
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = refuse_unknown(connection, steps, path)  # asked again, now with the lock held
        if version < len(steps):
            step = steps[version]
            connection.execute(_RECORD)
            for statement in statements(step.sql):
                connection.execute(statement)
            connection.execute(
                "INSERT INTO migrations VALUES (?, ?, ?, strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))",
                (step.number, step.name, step.sha256),
            )
            connection.execute(f"PRAGMA user_version = {step.number:d}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return int(version < len(steps))
