"""Schema migrations: numbered SQL steps from an empty database to the current schema.

Each `NNNN_name.sql` beside this file is one step, applied in one transaction together with the row
that records it, so that a killed process leaves a complete schema. A released step is never edited:
its checksum is stored in the database, and a difference is refused.
"""

from __future__ import annotations

import hashlib
import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from barnabee.core.errors import DatabaseMismatch, DatabaseTooNew
from barnabee.core.files import lock_file

# Also held while a restore point is made: its copy must have the schema that is recorded for it.
LOCK_FILE = ".pins.lock"

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
        return hashlib.sha256(self.sql.encode()).hexdigest()


def lock_migrations(database: Path) -> AbstractContextManager[None]:
    """Hold the lock under which `database` is migrated and restore points are made (blocks)."""
    return lock_file(database.parent / LOCK_FILE)


def load_migrations() -> tuple[Migration, ...]:
    """Return the steps of this program in order; RuntimeError when their numbers have a gap."""
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


def split_statements(sql: str) -> Iterator[str]:
    """Split `sql` into statements; `executescript` would commit the open transaction first."""
    pending = ""
    for line in sql.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            yield pending
            pending = ""
    if re.sub(r"--[^\n]*", "", pending).strip():
        yield pending


def require_known_schema(
    connection: sqlite3.Connection, steps: Sequence[Migration], path: str
) -> int:
    """Return the schema; DatabaseTooNew or DatabaseMismatch when this program did not make it."""
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > len(steps):
        raise DatabaseTooNew(path=path, found=version, known=len(steps))
    if version:
        recorded = dict(connection.execute("SELECT number, sha256 FROM migrations").fetchall())
        for step in steps[:version]:
            if recorded.get(step.number) != step.sha256:
                raise DatabaseMismatch(path=path, name=f"{step.number:04}_{step.name}")
    return version


def apply_migrations(connection: sqlite3.Connection, steps: Sequence[Migration], path: str) -> int:
    """Apply the missing steps and return how many; safe while other processes do the same.

    `connection` is in autocommit mode.
    """
    applied = 0
    while require_known_schema(connection, steps, path) < len(steps):
        applied += _apply_next(connection, steps, path)
    return applied


def _apply_next(connection: sqlite3.Connection, steps: Sequence[Migration], path: str) -> int:
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = require_known_schema(connection, steps, path)  # again, with the write lock held
        if version < len(steps):
            step = steps[version]
            connection.execute(_RECORD)
            for statement in split_statements(step.sql):
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
