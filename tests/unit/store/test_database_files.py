from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from barnabee.store import database_files

NOW = datetime(2025, 3, 1, 12, 0, 0, 5000, UTC)


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
