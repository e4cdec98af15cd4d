"""The record of drills in the database; see migration 0003.

Works on a connection, because the drill is a process of its own and the services have theirs.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from barnabee.backup import consistent_copy

KEPT = 400  # more than a year of nights


@dataclass(frozen=True)
class Drill:
    """One drill; the fields are the columns."""

    started_at: str
    took_ms: int
    cpu_ms: int
    success: bool
    step: str | None = None
    code: str | None = None
    reason: str | None = None
    txid: int = 0
    restore_ms: int = 0
    bytes: int = 0
    rows: int = 0
    snapshot: str | None = None
    offsite: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return asdict(self)


_COLUMNS = tuple(Drill.__dataclass_fields__)


def record(database: Path, drill: Drill) -> None:
    """Keep what a drill found (blocks); forget those of long ago."""
    names, marks = ", ".join(_COLUMNS), ", ".join("?" for _ in _COLUMNS)
    with closing(consistent_copy.connect(database, "rw")) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(
            f"INSERT INTO drills ({names}) VALUES ({marks})",  # noqa: S608 - names of our own
            tuple(asdict(drill).values()),
        )
        connection.execute(
            "DELETE FROM drills WHERE id <= (SELECT max(id) FROM drills) - ?", (KEPT,)
        )
        connection.execute("COMMIT")


def newest(connection: sqlite3.Connection, *, good: bool = False) -> Drill | None:
    """Return the last drill, or the last one that succeeded; None when there is none."""
    return next(iter(latest(connection, 1, good=good)), None)


def latest(connection: sqlite3.Connection, count: int, *, good: bool = False) -> list[Drill]:
    """Return the last drills, or the last that succeeded, the newest first."""
    where = "WHERE success = 1" if good else ""
    rows = connection.execute(
        f"SELECT {', '.join(_COLUMNS)} FROM drills {where} ORDER BY id DESC LIMIT ?",  # noqa: S608
        (count,),
    )
    return [_drill(row) for row in rows]


def last_good_snapshot(database: Path) -> str | None:
    """Return the name of the newest snapshot that a drill proved; None when nobody knows."""
    try:
        with closing(consistent_copy.connect(database, "ro")) as connection:
            found = newest(connection, good=True)
    except sqlite3.Error:
        return None  # then pruning keeps the newest, and what is young
    return found.snapshot if found else None


def _drill(row: tuple[Any, ...]) -> Drill:
    fields = dict(zip(_COLUMNS, row, strict=True))
    flags = {name: bool(fields[name]) for name in ("success", "offsite")}
    return Drill(**{**fields, **flags})
