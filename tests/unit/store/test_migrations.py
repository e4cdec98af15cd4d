from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest

from barnabee.core.errors import DatabaseMismatch, DatabaseTooNew
from barnabee.store import migrations
from barnabee.store.migrations import Migration

FIRST = Migration(1, "first", "CREATE TABLE a (x TEXT);\nCREATE TABLE b (x TEXT);\n")
SECOND = Migration(2, "second", "ALTER TABLE a ADD COLUMN y TEXT;\n")


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    yield connection
    connection.close()


def version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def tables(connection: sqlite3.Connection) -> set[str]:
    return {row[0] for row in connection.execute("SELECT name FROM sqlite_schema")}


def test_the_released_steps_are_numbered_without_gaps() -> None:
    numbers = [step.number for step in migrations.load_migrations()]

    assert numbers == list(range(1, len(numbers) + 1))


def test_the_released_steps_create_all_tables(connection: sqlite3.Connection) -> None:
    steps = migrations.load_migrations()

    assert migrations.apply_migrations(connection, steps, "db") == len(steps)
    assert {"turns", "facts", "spoken", "migrations"} <= tables(connection)


def test_migrating_the_first_release_keeps_its_turns(connection: sqlite3.Connection) -> None:
    steps = migrations.load_migrations()
    migrations.apply_migrations(connection, steps[:1], "db")
    row = ("a" * 32, "s", None, "hi", "hello", "greeting", "[]", "[]", "{}", "2025")
    connection.execute("INSERT INTO turns VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)

    assert migrations.apply_migrations(connection, steps, "db") == len(steps) - 1
    assert connection.execute("SELECT * FROM turns").fetchall() == [row]
    assert connection.execute("SELECT * FROM spoken").fetchall() == []


def test_applying_twice_changes_nothing(connection: sqlite3.Connection) -> None:
    migrations.apply_migrations(connection, [FIRST, SECOND], "db")

    assert migrations.apply_migrations(connection, [FIRST, SECOND], "db") == 0


def test_missing_steps_are_applied_and_rows_kept(connection: sqlite3.Connection) -> None:
    migrations.apply_migrations(connection, [FIRST], "db")
    connection.execute("INSERT INTO a VALUES ('kept')")

    migrations.apply_migrations(connection, [FIRST, SECOND], "db")

    assert connection.execute("SELECT x, y FROM a").fetchall() == [("kept", None)]
    assert version(connection) == 2


def test_a_failing_step_is_rolled_back(connection: sqlite3.Connection) -> None:
    broken = Migration(2, "broken", "CREATE TABLE c (x TEXT);\nCREATE TABLE a (x TEXT);\n")

    with pytest.raises(sqlite3.OperationalError, match="already exists"):
        migrations.apply_migrations(connection, [FIRST, broken], "db")

    assert version(connection) == 1
    assert "c" not in tables(connection)
    assert not connection.in_transaction


def test_a_newer_schema_is_refused(connection: sqlite3.Connection) -> None:
    migrations.apply_migrations(connection, [FIRST, SECOND], "db")

    with pytest.raises(DatabaseTooNew, match=r"schema version 2.* only 1"):
        migrations.apply_migrations(connection, [FIRST], "db")


def test_an_edited_step_is_refused_and_named(connection: sqlite3.Connection) -> None:
    migrations.apply_migrations(connection, [FIRST], "db")
    edited = Migration(1, "first", FIRST.sql + "-- a change\n")

    with pytest.raises(DatabaseMismatch, match="0001_first"):
        migrations.apply_migrations(connection, [edited, SECOND], "db")
    assert version(connection) == 1


def test_statements_are_split_at_their_ends() -> None:
    sql = (
        "-- a note; not an end\nCREATE TABLE a (x TEXT DEFAULT ';');\n\nCREATE TABLE b (y);\n-- z\n"
    )

    assert [text.count("CREATE") for text in migrations.split_statements(sql)] == [1, 1]


def test_a_trigger_is_not_split() -> None:
    sql = "CREATE TRIGGER t AFTER INSERT ON a BEGIN\n DELETE FROM b;\n DELETE FROM c;\nEND;\n"

    assert list(migrations.split_statements(sql)) == [sql]
