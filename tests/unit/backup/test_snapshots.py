"""SQL text of a database: the same content, rows in time order, nothing from a part of it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barnabee.backup import integrity, snapshots
from barnabee.store import db

VALUES = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    # SQLite may lose the last bit of a number of extreme size; the schema has no real numbers.
    st.sampled_from([0.0, -1.25, 3.141592653589793, float("inf"), float("-inf")]),
    st.text(),
    st.binary(),
)


def make_database(path: Path, *statements: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    return connection


def dump_and_load(connection: sqlite3.Connection, folder: Path) -> Path:
    source, target = folder / "barnabee.sql", folder / "loaded.db"
    target.unlink(missing_ok=True)
    snapshots.write_dump(connection, source)
    snapshots.load_dump(source, target)
    return target


@given(rows=st.lists(st.tuples(VALUES, VALUES), max_size=20))
def test_every_value_is_loaded_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[object, object]]
) -> None:
    folder = tmp_path_factory.mktemp("dump")
    with closing(make_database(folder / "a.db", "CREATE TABLE t (a, b)")) as connection:
        connection.executemany("INSERT INTO t VALUES (?, ?)", rows)
        loaded = dump_and_load(connection, folder)
        assert integrity.read_file_content(loaded) == integrity.read_content(connection)
    with closing(sqlite3.connect(loaded)) as connection:
        assert connection.execute("SELECT a, b FROM t ORDER BY rowid").fetchall() == rows


def test_text_that_is_not_utf8_and_odd_names_are_loaded(tmp_path: Path) -> None:
    statements = (
        'CREATE TABLE "a ""b" ("x;\n y" TEXT, created_at TEXT)',
        "INSERT INTO \"a \"\"b\" VALUES (CAST(x'2761ff00' AS TEXT), 'a;\n'), (x'ff', NULL)",
        'CREATE TABLE "it\'s" (a)',
        "INSERT INTO \"it's\" VALUES (''';\n'), (''''), (';\n')",
        'CREATE TRIGGER w AFTER INSERT ON "a ""b" BEGIN SELECT 1; SELECT \';\'; END',
        "CREATE TABLE _litestream_seq (id INTEGER PRIMARY KEY)",
        "PRAGMA user_version = 7",
    )
    with closing(make_database(tmp_path / "a.db", *statements)) as connection:
        loaded = dump_and_load(connection, tmp_path)
        assert integrity.read_file_content(loaded) == integrity.read_content(connection)
    with closing(sqlite3.connect(loaded)) as connection:
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_schema")]
    assert names == ['a "b', "it's", "w"]


def test_rows_are_in_time_order_so_that_new_ones_are_at_the_end(tmp_path: Path) -> None:
    db.prepare_database(tmp_path / "barnabee.db")
    insert = "INSERT INTO spoken VALUES (?, 'hall', '', '', NULL, NULL, 0, NULL, '', NULL, ?)"
    with closing(sqlite3.connect(tmp_path / "barnabee.db", isolation_level=None)) as connection:
        connection.executemany(insert, [("c", "2026-01-01"), ("a", "2026-01-02")])
        snapshots.write_dump(connection, tmp_path / "first.sql")
        connection.execute(insert, ("b", "2026-01-03"))
        rows = snapshots.write_dump(connection, tmp_path / "second.sql")

    first, second = ((tmp_path / f"{name}.sql").read_text() for name in ("first", "second"))
    inserted = [line for line in second.splitlines() if '"spoken"' in line]
    assert rows["spoken"] == 3
    assert inserted[:2] == [line for line in first.splitlines() if '"spoken"' in line]
    assert inserted[2].startswith("INSERT INTO \"spoken\" VALUES('b',")
    loaded = tmp_path / "loaded.db"
    snapshots.load_dump(tmp_path / "second.sql", loaded)
    assert integrity.open_with_application(loaded) > 0


def test_a_text_that_is_cut_short_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "barnabee.sql"
    with closing(make_database(tmp_path / "a.db", "CREATE TABLE t (a)")) as connection:
        connection.execute("INSERT INTO t VALUES ('x'), ('y')")
        snapshots.write_dump(connection, source)
    lines = source.read_bytes().splitlines(keepends=True)
    for text in (b"".join(lines[:-1]), b"".join(lines[:-3]) + lines[-3][:-4]):
        source.write_bytes(text)
        with pytest.raises(ValueError, match="cut short"):
            snapshots.load_dump(source, tmp_path / "b.db")
        with closing(sqlite3.connect(tmp_path / "b.db")) as connection:
            assert connection.execute("SELECT name FROM sqlite_schema").fetchall() == []
