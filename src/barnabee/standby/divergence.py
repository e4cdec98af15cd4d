"""What one database has and another has not: the rows that never reached the replica.

Both are told apart by trace ids alone, which every table of the house's record has.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

FILE = "unreplicated.json"
KEY = "trace_id"


def rows_missing(old: Path, new: Path) -> dict[str, list[str]]:
    """Return by table the ids of the rows of `old` that are not in `new` (blocks).

    `old` lies where nobody uses it; its log, if there is one, is read with it. ValueError when
    one of them cannot be read.
    """
    try:
        with closing(_open(old)) as mine, closing(_open(new)) as theirs:
            found = {table: _ids(mine, table) for table in _tables(mine)}
            there = set(_tables(theirs))
            return {
                table: sorted(ids - (_ids(theirs, table) if table in there else set()))
                for table, ids in found.items()
            }
    except sqlite3.Error as error:
        raise ValueError(str(error)) from error


def name(folder: Path, missing: dict[str, list[str]]) -> Path:
    """Write the ids into a file in `folder`; return it."""
    file = folder / FILE
    text = json.dumps({table: ids for table, ids in missing.items() if ids}, indent=2)
    file.write_text(f"{text}\n", encoding="utf-8")
    return file


def _open(path: Path) -> sqlite3.Connection:
    # ro: closing the last connection to a database would otherwise empty its log
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)


def _tables(connection: sqlite3.Connection) -> list[str]:
    names = [
        row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    ]
    return [
        name
        for name in names
        if any(column[1] == KEY for column in connection.execute(f'PRAGMA table_info("{name}")'))
    ]


def _ids(connection: sqlite3.Connection, table: str) -> set[str]:
    return {row[0] for row in connection.execute(f'SELECT {KEY} FROM "{table}"')}  # noqa: S608
