"""The database of the tests: a real one, with real pins; `PRAGMA user_version` is its schema."""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

DATABASE = Path(os.environ["ROOT"]) / "data" / "barnabee.db"


def schema() -> int:
    with closing(sqlite3.connect(DATABASE)) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


def migrate(wanted: int) -> None:
    """Bring it to `wanted`; newer ones are left alone, as our migrations refuse them."""
    with closing(sqlite3.connect(DATABASE)) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS rows (at INTEGER)")
        if schema() < wanted:
            connection.execute(f"PRAGMA user_version = {wanted:d}")
        connection.commit()


def main(what: str, *given: str) -> None:
    if what == "schema":
        print(schema())
    elif what == "migrate":
        migrate(int(given[0]))
    else:
        from barnabee.backup import restore_points  # noqa: PLC0415 - the others are in a hurry

        if what == "pin":
            restore_points.create_restore_point(DATABASE, "before a switch")
        else:
            shutil.copy(
                restore_points.copy_path(DATABASE, restore_points.find(DATABASE, given[0])),
                DATABASE,
            )


if __name__ == "__main__":
    main(*sys.argv[1:])
