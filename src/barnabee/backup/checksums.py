"""What a database holds, as numbers that two copies can be compared by: rows and a hash per table.

The hash is over the rows in the order of the primary key, each value with its type, so that pages,
free space and the log do not matter. It is XXH3 of 128 bits, which tells of accidents as SHA-256
does, in a tenth of the time; nobody has to be kept from forging a table here. Knows no table by
name.
"""

from __future__ import annotations

import marshal
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import xxhash

# Rows are taken and hashed so many at a time: fewer cost more calls, more cost memory.
ROWS = 2000
# The oldest form of marshal: no references, nothing that depends on how Python keeps a value.
_FORM = 2


@dataclass(frozen=True)
class Table:
    """One table: how many rows, and the hash of all of them."""

    rows: int
    xxh128: str


@dataclass(frozen=True)
class Content:
    """What is in a database."""

    schema: int
    tables: Mapping[str, Table]

    @property
    def rows(self) -> int:
        """Return how many rows there are in all tables."""
        return sum(table.rows for table in self.tables.values())

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        tables = {
            name: {"rows": one.rows, "xxh128": one.xxh128} for name, one in self.tables.items()
        }
        return {"schema": self.schema, "tables": tables}

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Content:
        """Return what a JSON form says; ValueError, KeyError or TypeError when it is none."""
        tables = {name: Table(**one) for name, one in found["tables"].items()}
        return cls(int(found["schema"]), tables)


def read(connection: sqlite3.Connection, pause: Callable[[], None] = lambda: None) -> Content:
    """Return what the database of `connection` holds, as it sees it now.

    The caller holds a read transaction when others may write meanwhile.
    """
    before = connection.text_factory
    connection.text_factory = bytes  # text that is no UTF-8 is content too
    try:
        schema = int(connection.execute("PRAGMA user_version").fetchone()[0])
        return Content(
            schema, {name: _table(connection, name, pause) for name in tables(connection)}
        )
    finally:
        connection.text_factory = before


def tables(connection: sqlite3.Connection) -> list[str]:
    """Return the names of the tables that hold content, in order."""
    names = connection.execute(
        "SELECT CAST(name AS BLOB) FROM sqlite_schema WHERE type = 'table' "
        "AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' "
        # litestream's own two tables change whenever it looks
        "AND name NOT LIKE '\\_litestream\\_%' ESCAPE '\\' ORDER BY name"
    )
    return [bytes(row[0]).decode() for row in names]


def counts(connection: sqlite3.Connection) -> dict[str, int]:
    """Return how many rows each table has."""
    return {
        name: int(connection.execute(f"SELECT count(*) FROM {_quoted(name)}").fetchone()[0])  # noqa: S608
        for name in tables(connection)
    }


def differences(expected: Content, found: Content) -> list[str]:
    """Return a sentence for each thing that differs; empty when the contents are equal. Pure."""
    told = []
    if expected.schema != found.schema:
        told.append(f"schema {found.schema} instead of {expected.schema}")
    for name in sorted(expected.tables.keys() | found.tables.keys()):
        one, other = expected.tables.get(name), found.tables.get(name)
        if one is None:
            told.append(f"table {name} is there and should not be")
        elif other is None:
            told.append(f"table {name} is missing")
        elif one.rows != other.rows:
            told.append(f"table {name} has {other.rows} rows instead of {one.rows}")
        elif one != other:
            told.append(f"table {name} has other values in its {one.rows} rows")
    return told


def _table(connection: sqlite3.Connection, name: str, pause: Callable[[], None]) -> Table:
    quoted = _quoted(name)
    columns = connection.execute(f"PRAGMA table_info({quoted})").fetchall()
    keys = sorted((row[5], bytes(row[1]).decode()) for row in columns if row[5])
    order = ", ".join('"' + key.replace('"', '""') + '"' for _, key in keys) or "rowid"
    kinds = ", ".join(f'typeof("{bytes(row[1]).decode()}")' for row in columns if _mixed(row[2]))
    what = f"*, {kinds}" if kinds else "*"
    digest, rows = xxhash.xxh3_128(), 0
    # No placeholder can name a table, and these names are the database's own.
    cursor = connection.execute(f"SELECT {what} FROM {quoted} ORDER BY {order}")  # noqa: S608
    cursor.row_factory = None
    while chunk := cursor.fetchmany(ROWS):
        rows += len(chunk)
        digest.update(marshal.dumps(chunk, _FORM))
        pause()
    return Table(rows, digest.hexdigest())


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _mixed(declared: bytes) -> bool:
    """Return whether text and blobs may both be in a column: as bytes they look the same."""
    return bytes(declared).upper() not in {b"TEXT", b"BLOB", b"INTEGER", b"INT", b"REAL"}
