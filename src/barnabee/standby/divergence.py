"""Divergence of two databases: rows that one has and the other lacks, and how they are preserved.

Rows are compared by trace id, which every table of recorded turns has.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

from barnabee.store.database_files import move_aside

REPORT_NAME = "unreplicated.json"
ID_COLUMN = "trace_id"

log = structlog.get_logger()


def set_aside_database(path: Path, new: Path) -> Path | None:
    """Move the database at `path` to a folder of its own and report its rows missing in `new`.

    Returns the folder, or None when there was no database. Blocking.
    """
    folder = move_aside(path, datetime.now(UTC))
    if folder is None:
        return None
    try:
        missing = find_missing_rows(folder / path.name, new)
    except ValueError as error:
        log.warning("rows_not_compared", folder=str(folder), reason=str(error))
        return folder
    write_report(folder, missing)
    counts = {table: len(ids) for table, ids in missing.items()}
    log.warning("database_set_aside", folder=str(folder), unreplicated=counts)
    return folder


def find_missing_rows(old: Path, new: Path) -> dict[str, list[str]]:
    """Return by table the ids of the rows of `old` that are not in `new`. Blocking.

    `old` must not be in use; its write-ahead log is read with it. ValueError when either database
    is unreadable.
    """
    try:
        with closing(_open(old)) as old_db, closing(_open(new)) as new_db:
            old_ids = {table: _ids(old_db, table) for table in _tables(old_db)}
            new_tables = set(_tables(new_db))
            return {
                table: sorted(ids - (_ids(new_db, table) if table in new_tables else set()))
                for table, ids in old_ids.items()
            }
    except sqlite3.Error as error:
        raise ValueError(str(error)) from error


def write_report(folder: Path, missing: dict[str, list[str]]) -> Path:
    """Write the ids of the missing rows to a JSON file in `folder`; return its path."""
    file = folder / REPORT_NAME
    text = json.dumps({table: ids for table, ids in missing.items() if ids}, indent=2)
    file.write_text(f"{text}\n", encoding="utf-8")
    return file


def list_set_aside(database: Path) -> list[dict[str, Any]]:
    """Return the folders of databases set aside, each with its report (None: not compared)."""
    entries = []
    for folder in sorted(database.parent.glob(f"{database.name}.before-restore-*")):
        try:
            rows = json.loads((folder / REPORT_NAME).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            rows = None
        entries.append({"folder": str(folder), "unreplicated": rows})
    return entries


def _open(path: Path) -> sqlite3.Connection:
    # Read-only, because closing the last writable connection would checkpoint and empty the log.
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)


def _tables(connection: sqlite3.Connection) -> list[str]:
    names = [
        row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    ]
    return [name for name in names if ID_COLUMN in _columns(connection, name)]


def _columns(connection: sqlite3.Connection, table: str) -> list[str]:
    return [column[1] for column in connection.execute(f'PRAGMA table_info("{table}")')]


def _ids(connection: sqlite3.Connection, table: str) -> set[str]:
    return {row[0] for row in connection.execute(f'SELECT {ID_COLUMN} FROM "{table}"')}  # noqa: S608
