"""Divergence of databases: rows that exist in only one of them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from barnabee.standby import bootstrap


def make_database(path: Path, turns: list[str], *, killed: bool = False) -> Path:
    """Create a database; `killed` leaves it with a write-ahead log, as after SIGKILL."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE turns (trace_id TEXT PRIMARY KEY) STRICT")
        connection.execute("CREATE TABLE migrations (number INTEGER PRIMARY KEY) STRICT")
        connection.executemany("INSERT INTO turns VALUES (?)", [(turn,) for turn in turns])
        connection.commit()
        if killed:
            for part in ("", "-wal"):
                copy = path.with_name(f"killed.db{part}")
                copy.write_bytes(path.with_name(path.name + part).read_bytes())
    return path.with_name("killed.db") if killed else path


def test_missing_rows_are_reported_and_neither_database_changes(tmp_path: Path) -> None:
    old = make_database(tmp_path / "old.db", ["a", "b", "c"], killed=True)
    new = make_database(tmp_path / "new.db", ["a", "d"])
    before = old.read_bytes(), old.with_name("killed.db-wal").read_bytes()
    missing = bootstrap.find_missing_rows(old, new)
    assert missing == {"turns": ["b", "c"]}
    assert (old.read_bytes(), old.with_name("killed.db-wal").read_bytes()) == before
    report = bootstrap.write_report(tmp_path, missing).read_text()
    assert report == '{\n  "turns": [\n    "b",\n    "c"\n  ]\n}\n'


def test_a_file_that_is_no_database_cannot_be_compared(tmp_path: Path) -> None:
    (tmp_path / "old.db").write_bytes(b"not a database at all" * 99)
    new = make_database(tmp_path / "new.db", [])
    with pytest.raises(ValueError, match="not a database"):
        bootstrap.find_missing_rows(tmp_path / "old.db", new)
