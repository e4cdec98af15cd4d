from __future__ import annotations

import ast
import sqlite3
import threading
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

import barnabee
from barnabee.backup import restore_points
from barnabee.backup.consistent_copy import unknown_txid
from barnabee.backup.restore_points import make_migration_hook
from barnabee.core.errors import DatabaseFull, NotFound
from barnabee.store import db, migrations
from barnabee.store.migrations import Migration

HOOK = make_migration_hook(unknown_txid)
STEPS = (
    Migration(1, "first", "CREATE TABLE a (x TEXT);\n"),
    Migration(2, "second", "ALTER TABLE a ADD COLUMN y TEXT;\n"),
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "barnabee.db"


def set_migrations(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(migrations, "load_migrations", lambda: STEPS[:count])


def query(path: Path, sql: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


def make_database(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_migrations(monkeypatch, 1)
    db.prepare_database(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute("INSERT INTO a VALUES ('before')")
        connection.commit()


def test_a_migration_creates_a_restore_point_first(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_database(path, monkeypatch)
    set_migrations(monkeypatch, 2)

    db.prepare_database(path, before_migration=make_migration_hook(lambda: 17))

    found = restore_points.newest(path)
    assert found is not None
    assert (found.txid, found.schema, found.reason) == (17, 1, "before migration to 2")
    copy = restore_points.copy_path(path, found)
    assert query(copy, "SELECT * FROM a") == [("before",)]
    assert query(copy, "PRAGMA user_version") == [(1,)]
    assert query(path, "PRAGMA user_version") == [(2,)]


def test_a_new_or_current_database_gets_no_restore_point(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_migrations(monkeypatch, 1)
    for _ in range(2):
        db.prepare_database(path, before_migration=HOOK)

    assert restore_points.newest(path) is None


def test_concurrent_starts_create_one_restore_point(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_database(path, monkeypatch)
    set_migrations(monkeypatch, 2)
    threads = [
        threading.Thread(
            target=db.prepare_database, args=(path,), kwargs={"before_migration": HOOK}
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [point.schema for point in restore_points.list_restore_points(path)] == [1]
    assert query(path, "PRAGMA user_version") == [(2,)]


def test_without_a_restore_point_nothing_is_migrated(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_database(path, monkeypatch)
    set_migrations(monkeypatch, 2)
    monkeypatch.setattr(restore_points, "free_bytes", lambda _: 1024)

    with pytest.raises(DatabaseFull):
        db.prepare_database(path, before_migration=HOOK)
    assert query(path, "PRAGMA user_version") == [(1,)]


def test_writers_are_blocked_while_the_transaction_id_is_read(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_database(path, monkeypatch)
    results: list[str] = []

    def ask_and_write() -> int:
        with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as other:
            try:
                other.execute("INSERT INTO a VALUES ('meanwhile')")
                results.append("written")
            except sqlite3.OperationalError as error:
                results.append(str(error))
        return 3

    found = restore_points.create_restore_point(path, "manual", ask_and_write)

    assert results == ["database is locked"]
    assert query(restore_points.copy_path(path, found), "SELECT x FROM a") == [("before",)]


def test_restore_points_are_found_by_id_and_the_newest_copies_kept(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_database(path, monkeypatch)
    noon = datetime(2026, 1, 31, 12, tzinfo=UTC)
    points = [
        restore_points.create_restore_point(path, f"number {n}", now=lambda: noon) for n in range(5)
    ]

    assert restore_points.list_restore_points(path) == points
    assert restore_points.newest(path) == points[-1]
    assert restore_points.find(path, points[1].id) == points[1]
    assert points[0].at == "2026-01-31T12:00:00Z"
    assert [point for point in points if restore_points.copy_path(path, point).exists()] == points[
        -restore_points.MAX_COPIES :
    ]
    assert not list(path.parent.rglob("*.part"))


def test_an_unknown_id_and_a_missing_database_raise_not_found(path: Path) -> None:
    with pytest.raises(NotFound, match="unknown-id"):
        restore_points.find(path, "unknown-id")
    with pytest.raises(NotFound, match=r"barnabee\.db"):
        restore_points.create_restore_point(path, "manual")
    assert not path.exists()


def test_an_unreadable_list_does_not_prevent_a_migration(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_database(path, monkeypatch)
    (path.parent / restore_points.LIST_FILE).write_text("{ half of it")
    set_migrations(monkeypatch, 2)

    db.prepare_database(path, before_migration=HOOK)

    assert [point.schema for point in restore_points.list_restore_points(path)] == [1]


def test_every_service_creates_a_restore_point_before_a_migration() -> None:
    hooks = {
        (file.parent.name, ast.unparse(keyword.value).partition("(")[0])
        for file in Path(barnabee.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("DatabaseProvider")
        for keyword in node.keywords
        if keyword.arg == "before_migration"
    }

    assert hooks == {("api", "make_migration_hook"), ("workers", "make_migration_hook")}
