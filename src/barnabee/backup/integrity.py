"""Integrity check of a database file, hashes of its content for comparing two copies, row counts.

Three proofs: SQLite's own checks, a hash over the rows of each table, and opening the file with
the application's code. The hash covers the rows in primary-key order, each value with its type, so
that pages, free space and the log do not matter. It is XXH3 with 128 bits: as good as SHA-256
against accidents and ten times as fast; it does not protect against forgery.
"""

from __future__ import annotations

import json
import marshal
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

import xxhash

from barnabee.core.errors import BarnabeeError
from barnabee.store import db, sqlite

ROWS_PER_CHUNK = 2000  # fewer cost more calls, more cost memory
# The oldest format of marshal: no references, nothing that depends on Python's representation.
_MARSHAL_VERSION = 2
_MAX_ERRORS = 5
# Fewer lost rows are no collapse: small tables halve in daily use.
MIN_LOST_ROWS = 5
# Reading through the page cache instead of read calls: a third less CPU time.
MMAP_BYTES = 0x7FFF0000
_COMPARED_BYTES = 1 << 20
_HEADER_BYTES = 100
# Journal mode, change counter, schema cookie, and who wrote last: https://sqlite.org/fileformat2.html
_HEADER_OF_A_COPY = ((18, 20), (24, 28), (40, 44), (92, 100))


@dataclass(frozen=True)
class TableContent:
    """Row count and hash of one table."""

    rows: int
    xxh128: str


@dataclass(frozen=True)
class DatabaseContent:
    """Schema and tables of a database."""

    schema: int
    tables: Mapping[str, TableContent]

    @property
    def rows(self) -> int:
        """Return the number of rows in all tables."""
        return sum(table.rows for table in self.tables.values())


# --- Files that no other process has open, such as a restored copy -------------------------------


def check_integrity(path: Path) -> None:
    """Raise ValueError with what SQLite finds wrong with the database file at `path` (blocks)."""
    try:
        with closing(_open_immutable(path)) as connection:
            rows = connection.execute(f"PRAGMA integrity_check({_MAX_ERRORS})")
            results = [row[0] for row in rows]
            if results != ["ok"]:
                raise ValueError("; ".join(map(str, results)))
            broken = connection.execute("PRAGMA foreign_key_check").fetchone()
            if broken is not None:
                raise ValueError(f"a row of {broken[0]} refers to a missing row of {broken[2]}")
    except sqlite3.Error as error:
        raise ValueError(str(error)) from error


def read_file_content(path: Path) -> DatabaseContent:
    """Return the content of a file; ValueError when it cannot be read (blocks)."""
    try:
        with closing(_open_immutable(path)) as connection:
            return read_content(connection)
    except sqlite3.Error as error:
        raise ValueError(str(error)) from error


def has_equal_pages(first: Path, second: Path) -> bool:
    """Return whether two files are the same, apart from what a copy changes in the header.

    Copies whose rows are equal may have other pages.
    """
    with first.open("rb") as a, second.open("rb") as b:
        headers = []
        for file in (a, b):
            header = bytearray(file.read(_HEADER_BYTES))
            for start, end in _HEADER_OF_A_COPY:
                header[start:end] = bytes(end - start)
            headers.append(header)
        is_equal = headers[0] == headers[1]
        while is_equal and (chunk := a.read(_COMPARED_BYTES)):
            is_equal = chunk == b.read(_COMPARED_BYTES)
        return is_equal and not b.read(1)


def count_file_rows(path: Path) -> dict[str, int]:
    """Return the number of rows by table of a file; ValueError when it cannot be read."""
    try:
        with closing(_open_immutable(path)) as connection:
            return count_rows(connection)
    except sqlite3.Error as error:
        raise ValueError(str(error)) from error


def open_with_application(path: Path) -> int:
    """Open and migrate a checked file as the services do; return its schema afterwards.

    Raises ValueError when the application refuses it.
    """
    try:
        db.prepare_database(path, checked_copy=True)
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            turns = connection.execute("SELECT count(*) FROM turns").fetchone()[0]
            newest = connection.execute(
                "SELECT count(*) FROM (SELECT * FROM turns ORDER BY created_at DESC LIMIT 50)"
            ).fetchone()[0]
            if bool(turns) != bool(newest):
                raise ValueError("its turns cannot be read in the order of time")
            sqlite.merge_wal(connection)
            return int(connection.execute("PRAGMA user_version").fetchone()[0])
    except (BarnabeeError, sqlite3.Error) as error:
        raise ValueError(str(error)) from error


def _open_immutable(path: Path) -> sqlite3.Connection:
    # immutable: no lock is taken and no file is made beside it
    uri = f"{path.absolute().as_uri()}?immutable=1"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None)
    connection.execute(f"PRAGMA mmap_size = {MMAP_BYTES}")
    return connection


# --- Content of an open connection ---------------------------------------------------------------


def read_content(connection: sqlite3.Connection) -> DatabaseContent:
    """Return the content that `connection` sees.

    The caller holds a read transaction where others may write meanwhile.
    """
    before = connection.text_factory
    connection.text_factory = bytes  # text that is not UTF-8 is content too
    try:
        schema = int(connection.execute("PRAGMA user_version").fetchone()[0])
        return DatabaseContent(
            schema, {name: _hash_table(connection, name) for name in list_tables(connection)}
        )
    finally:
        connection.text_factory = before


def list_tables(connection: sqlite3.Connection) -> list[str]:
    """Return the names of the tables with content of ours, sorted."""
    names = connection.execute(
        "SELECT CAST(name AS BLOB) FROM sqlite_schema WHERE type = 'table' "
        "AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' "
        # litestream's own two tables change whenever it syncs
        "AND name NOT LIKE '\\_litestream\\_%' ESCAPE '\\' ORDER BY name"
    )
    return [bytes(row[0]).decode() for row in names]


def count_rows(connection: sqlite3.Connection) -> dict[str, int]:
    """Return the number of rows by table."""
    return {
        name: int(connection.execute(f"SELECT count(*) FROM {quote_name(name)}").fetchone()[0])  # noqa: S608
        for name in list_tables(connection)
    }


def describe_differences(expected: DatabaseContent, actual: DatabaseContent) -> list[str]:
    """Return a sentence for each difference; empty when the contents are equal. Pure."""
    differences = []
    if expected.schema != actual.schema:
        differences.append(f"schema {actual.schema} instead of {expected.schema}")
    for name in sorted(expected.tables.keys() | actual.tables.keys()):
        old, new = expected.tables.get(name), actual.tables.get(name)
        if old is None:
            differences.append(f"table {name} is there and should not be")
        elif new is None:
            differences.append(f"table {name} is missing")
        elif old.rows != new.rows:
            differences.append(f"table {name} has {new.rows} rows instead of {old.rows}")
        elif old != new:
            differences.append(f"table {name} has other values in its {old.rows} rows")
    return differences


# --- Collapse: much less than at the last successful drill ----------------------------------------


@dataclass(frozen=True)
class RowBaseline:
    """Rows of a verified database, by table and day of `created_at` ("" in tables without it)."""

    at: str
    tables: Mapping[str, Mapping[str, int]]

    def dumps(self) -> str:
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def loads(cls, text: str) -> RowBaseline:
        """Return the baseline in `text`; ValueError when it has none."""
        try:
            found = json.loads(text)
            return cls(
                str(found["at"]),
                {
                    name: {str(day): int(rows) for day, rows in days.items()}
                    for name, days in found["tables"].items()
                },
            )
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"it is not a baseline: {error!r}") from error

    def describe_collapse(
        self, rows: Mapping[str, int], oldest_days: Mapping[str, str]
    ) -> list[str]:
        """Return a sentence for each table that lost more than half of its rows. Pure.

        `oldest_days` has the first day that retention leaves complete, of the tables that expire.
        """
        sentences = []
        for name, days in self.tables.items():
            oldest = oldest_days.get(name, "")
            before = sum(count for day, count in days.items() if day >= oldest)
            now = rows.get(name, 0)
            if before - now >= MIN_LOST_ROWS and now < before / 2:
                sentences.append(f"table {name} fell from {before} to {now} rows since {self.at}")
        return sentences


def count_rows_by_day(connection: sqlite3.Connection) -> dict[str, dict[str, int]]:
    """Return the number of rows by table and day of `created_at`, the form of `RowBaseline`."""
    counts = {}
    for name in list_tables(connection):
        columns = {row[1] for row in connection.execute(f"PRAGMA table_info({quote_name(name)})")}
        day = "substr(created_at, 1, 10)" if "created_at" in columns else "''"
        sql = f"SELECT {day}, count(*) FROM {quote_name(name)} GROUP BY 1"  # noqa: S608 - as below
        counts[name] = {str(row[0]): int(row[1]) for row in connection.execute(sql)}
    return counts


def _hash_table(connection: sqlite3.Connection, name: str) -> TableContent:
    quoted = quote_name(name)
    columns = connection.execute(f"PRAGMA table_info({quoted})").fetchall()
    keys = sorted((row[5], bytes(row[1]).decode()) for row in columns if row[5])
    order = ", ".join('"' + key.replace('"', '""') + '"' for _, key in keys) or "rowid"
    types = ", ".join(
        f'typeof("{bytes(row[1]).decode()}")' for row in columns if _may_mix_types(row[2])
    )
    selected = f"*, {types}" if types else "*"
    digest, rows = xxhash.xxh3_128(), 0
    # No placeholder can name a table, and these names are the database's own.
    cursor = connection.execute(f"SELECT {selected} FROM {quoted} ORDER BY {order}")  # noqa: S608
    cursor.row_factory = None
    while chunk := cursor.fetchmany(ROWS_PER_CHUNK):
        rows += len(chunk)
        digest.update(marshal.dumps(chunk, _MARSHAL_VERSION))
    return TableContent(rows, digest.hexdigest())


def quote_name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _may_mix_types(declared: bytes) -> bool:
    """Return whether a column may hold both text and blobs: as bytes they look the same."""
    return bytes(declared).upper() not in {b"TEXT", b"BLOB", b"INTEGER", b"INT", b"REAL"}
