from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from barnabee.backup import consistent_copy, integrity


def database(*statements: str) -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:")
    connection.executescript(";".join(statements))
    return connection


ROWS = (
    "CREATE TABLE a (id INTEGER PRIMARY KEY, text TEXT, any)",
    "INSERT INTO a VALUES (1, 'one', 1.5), (2, 'two', NULL), (3, 'drei', x'00ff')",
)


def read(*statements: str) -> integrity.DatabaseContent:
    with closing(database(*statements)) as connection:
        return integrity.read_content(connection)


def test_content_is_equal_whatever_the_pages() -> None:
    other = (*ROWS, "DELETE FROM a WHERE id = 2", "INSERT INTO a VALUES (2, 'two', NULL)", "VACUUM")

    assert integrity.describe_differences(read(*ROWS), read(*other)) == []
    assert read(*ROWS, "CREATE TABLE _litestream_seq (id)") == read(*ROWS)


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ("DELETE FROM a WHERE id = 2", "table a has 2 rows instead of 3"),
        ("UPDATE a SET text = 'zwei' WHERE id = 2", "table a has other values in its 3 rows"),
        ("UPDATE a SET any = 'x' WHERE id = 2", "table a has other values in its 3 rows"),
        ("UPDATE a SET any = CAST(any AS TEXT) WHERE id = 3", "table a has other values"),
        ("DROP TABLE a", "table a is missing"),
        ("CREATE TABLE b (id)", "table b is there and should not be"),
        ("PRAGMA user_version = 7", "schema 7 instead of 0"),
    ],
)
def test_each_difference_is_described(change: str, difference: str) -> None:
    [found] = integrity.describe_differences(read(*ROWS), read(*ROWS, change))
    assert found.startswith(difference)


def make_database(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE parent (id INTEGER PRIMARY KEY)")
        connection.execute("CREATE TABLE child (parent INTEGER REFERENCES parent)")
        connection.executemany("INSERT INTO parent VALUES (?)", [(n,) for n in range(2000)])
        connection.commit()


def test_an_intact_copy_passes_and_no_file_is_made_beside_it(tmp_path: Path) -> None:
    make_database(tmp_path / "copy.db")

    integrity.check_integrity(tmp_path / "copy.db")

    assert [entry.name for entry in tmp_path.iterdir()] == ["copy.db"]


def test_a_damaged_copy_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "copy.db"
    make_database(path)
    content = bytearray(path.read_bytes())
    content[-4096:] = b"\xff" * 4096
    path.write_bytes(content)

    with pytest.raises(ValueError, match=r"[Tt]ree|page|malformed"):
        integrity.check_integrity(path)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "copy.db").write_bytes(b"not a database" * 1000)

    with pytest.raises(ValueError, match="not a database"):
        integrity.check_integrity(tmp_path / "copy.db")


def test_a_reference_to_a_missing_row_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "copy.db"
    make_database(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("INSERT INTO child VALUES (9999)")
        connection.commit()

    with pytest.raises(ValueError, match="child refers to a missing row of parent"):
        integrity.check_integrity(path)


def test_a_copy_has_the_pages_of_the_original_until_one_bit_changes(tmp_path: Path) -> None:
    original, copy = tmp_path / "original.db", tmp_path / "copy.db"
    make_database(original)
    with closing(sqlite3.connect(original)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("DELETE FROM parent WHERE id > 1000")  # leaves free pages
        connection.commit()
        consistent_copy.copy_database(connection, copy, durable=False)
    assert original.read_bytes() != copy.read_bytes()
    assert integrity.has_equal_pages(original, copy)

    intact = copy.read_bytes()
    bits = [bytearray(intact) for _ in range(3)]
    for changed, at in zip(bits, (63, 101, len(intact) - 1), strict=True):  # 63: the schema
        changed[at] ^= 1
    for content in (*map(bytes, bits), intact[:-4096], intact + b"x"):
        copy.write_bytes(content)
        assert not integrity.has_equal_pages(original, copy)
        assert not integrity.has_equal_pages(copy, original)
