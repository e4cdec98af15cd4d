from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from barnabee.backup import restore_points
from barnabee.core.errors import DatabaseFull, NotFound
from barnabee.store import db, migrations
from barnabee.store.migrations import Migration

STEPS = (
    Migration(1, "first", "CREATE TABLE a (x TEXT);\n"),
    Migration(2, "second", "ALTER TABLE a ADD COLUMN y TEXT;\n"),
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "barnabee.db"


def known(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(migrations, "known", lambda: STEPS[:count])


def query(path: Path, sql: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


def made(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known(monkeypatch, 1)
    db.prepare(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute("INSERT INTO a VALUES ('told before')")
        connection.commit()


def test_a_migration_pins_what_was_there_before(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(path, monkeypatch)
    known(monkeypatch, 2)

    db.prepare(path, ask_txid=lambda: 17)

    found = restore_points.newest(path)
    assert found is not None
    assert (found.txid, found.schema, found.reason) == (17, 1, "before migration to 2")
    copy = restore_points.copy_of(path, found)
    assert query(copy, "SELECT * FROM a") == [("told before",)]
    assert query(copy, "PRAGMA user_version") == [(1,)]
    assert query(path, "PRAGMA user_version") == [(2,)]


def test_a_new_database_and_one_that_is_current_are_not_pinned(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(path, monkeypatch)
    db.prepare(path)

    assert restore_points.newest(path) is None


def test_two_processes_that_start_at_once_pin_the_old_schema_once(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(path, monkeypatch)
    known(monkeypatch, 2)
    threads = [threading.Thread(target=db.prepare, args=(path,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [one.schema for one in restore_points.every(path)] == [1]
    assert query(path, "PRAGMA user_version") == [(2,)]


def test_what_cannot_be_pinned_is_not_migrated(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(path, monkeypatch)
    known(monkeypatch, 2)
    monkeypatch.setattr(restore_points, "free_bytes", lambda _: 1024)

    with pytest.raises(DatabaseFull):
        db.prepare(path)
    assert query(path, "PRAGMA user_version") == [(1,)]


def test_a_pin_is_of_one_moment_while_somebody_writes(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(path, monkeypatch)
    wrote: list[str] = []

    def ask_and_write() -> int:
        with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as other:
            try:
                other.execute("INSERT INTO a VALUES ('told meanwhile')")
                wrote.append("yes")
            except sqlite3.OperationalError as error:
                wrote.append(str(error))
        return 3

    found = restore_points.pin(path, "by hand", ask_and_write)

    assert wrote == ["database is locked"]
    assert query(restore_points.copy_of(path, found), "SELECT x FROM a") == [("told before",)]


def test_pins_are_found_by_their_id_and_the_newest_copies_are_kept(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(path, monkeypatch)
    noon = datetime(2026, 1, 31, 12, tzinfo=UTC)
    taken = [restore_points.pin(path, f"number {n}", now=lambda: noon) for n in range(5)]

    assert restore_points.every(path) == taken
    assert restore_points.newest(path) == taken[-1]
    assert restore_points.find(path, taken[1].id) == taken[1]
    assert taken[0].at == "2026-01-31T12:00:00Z"
    assert [one for one in taken if restore_points.copy_of(path, one).exists()] == taken[
        -restore_points.COPIES_KEPT :
    ]
    assert not list(path.parent.rglob("*.part"))


def test_an_unknown_pin_and_a_missing_database_are_said(path: Path) -> None:
    with pytest.raises(NotFound, match="nothing-like-it"):
        restore_points.find(path, "nothing-like-it")
    with pytest.raises(NotFound, match=r"barnabee\.db"):
        restore_points.pin(path, "by hand")
    assert not path.exists()


def test_a_list_that_cannot_be_read_keeps_nobody_from_starting(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(path, monkeypatch)
    (path.parent / restore_points.LIST).write_text("{ half of it")
    known(monkeypatch, 2)

    db.prepare(path)

    assert [one.schema for one in restore_points.every(path)] == [1]
