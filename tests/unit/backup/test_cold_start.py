from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from barnabee.backup import integrity
from barnabee.store import database_files

NOW = datetime(2025, 3, 1, 12, 0, 0, 5000, UTC)


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


def test_the_database_is_moved_aside_with_its_logs(tmp_path: Path) -> None:
    path = tmp_path / "barnabee.db"
    for name in ("barnabee.db", "barnabee.db-wal", "barnabee.db-shm"):
        (tmp_path / name).write_text(name)
    (tmp_path / ".barnabee.db-litestream").mkdir()
    (tmp_path / "unrelated").write_text("stays")

    folder = database_files.move_aside(path, NOW)

    assert folder is not None
    assert (folder / "barnabee.db-wal").read_text() == "barnabee.db-wal"
    assert sorted(entry.name for entry in folder.iterdir()) == [
        ".barnabee.db-litestream",
        "barnabee.db",
        "barnabee.db-shm",
        "barnabee.db-wal",
    ]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [folder.name, "unrelated"]


def test_a_missing_database_is_not_moved_aside(tmp_path: Path) -> None:
    assert database_files.move_aside(tmp_path / "barnabee.db", NOW) is None
    assert list(tmp_path.iterdir()) == []
