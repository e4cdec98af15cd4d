"""A failed or overdue drill or snapshot degrades the api's health."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from barnabee.api.health import BACKUPS_EVERY_S, BackupProbe
from barnabee.backup import drill, status
from barnabee.backup.drill import DrillResult
from barnabee.backup.snapshots import SnapshotState, write_state
from barnabee.core import system as system_module
from barnabee.core.settings import Settings
from barnabee.store import db

SYSTEM = system_module.load_system()
NOW = datetime.now(UTC)
DAY_S = 86_400.0


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Return the settings of a deployment whose database is a week old."""
    path = tmp_path / "barnabee.db"
    db.prepare_database(path)
    with sqlite3.connect(path) as connection:
        at = NOW - timedelta(days=7)
        connection.execute("UPDATE migrations SET applied_at = ?", (f"{at:%FT%T}.000Z",))
    return Settings.model_validate({"BARNABEE_DATA": tmp_path, "DATABASE_PATH": path})


def record_drill(settings: Settings, hours_ago: float, step: str | None = None) -> None:
    at = NOW - timedelta(hours=hours_ago)
    outcome = {"step": step, "reason": "table turns fell from 9 to 0 rows"} if step else {}
    result = DrillResult(f"{at:%FT%T}.000Z", 1, 1, success=step is None, **outcome)
    drill.record_drill(settings.database_path, result)


def take_snapshot(settings: Settings, hours_ago: float, missing: str | None = None) -> None:
    at = (NOW - timedelta(hours=hours_ago)).isoformat()
    write_state(settings, SnapshotState("4c7de640", at, missing=missing))


def find_problem(settings: Settings, up_s: float = DAY_S) -> str | None:
    return status.find_problem(SYSTEM, settings, NOW, up_s)


def test_recent_copies_are_healthy(settings: Settings) -> None:
    record_drill(settings, 40, "replica: fetch")
    record_drill(settings, 5)
    take_snapshot(settings, 5)
    assert find_problem(settings) is None
    take_snapshot(settings, 5, "restic is not installed")
    assert find_problem(settings) == "restic is not installed"


def test_failed_drill_is_a_problem_except_right_after_the_start(settings: Settings) -> None:
    record_drill(settings, 40)
    record_drill(settings, 5, "database: compare")
    take_snapshot(settings, 5)
    found = find_problem(settings, status.JUDGED_AFTER_S)
    assert found == (
        "the last drill failed at the step `database: compare`: table turns fell from 9 to 0 rows"
    )
    assert find_problem(settings, status.JUDGED_AFTER_S - 1) is None


def test_overdue_drill_or_snapshot_is_a_problem(settings: Settings) -> None:
    assert find_problem(settings) == "there was no drill yet"
    record_drill(settings, 31)
    take_snapshot(settings, 31)
    assert "the last drill was on" in (find_problem(settings) or "")
    record_drill(settings, 1)
    assert "the newest snapshot is of" in (find_problem(settings) or "")


def test_machine_that_was_off_has_time_to_catch_up(settings: Settings) -> None:
    record_drill(settings, 100)
    assert find_problem(settings, status.OVERDUE_AFTER_S - 1) is None
    assert find_problem(settings, status.OVERDUE_AFTER_S)


def test_nothing_is_overdue_on_the_first_day(tmp_path: Path, settings: Settings) -> None:
    new = settings.model_copy(update={"database_path": tmp_path / "new.db"})
    db.prepare_database(new.database_path)
    assert find_problem(new) is None
    assert find_problem(settings.model_copy(update={"database_path": tmp_path / "none.db"})) is None


async def test_state_is_read_once_a_minute(settings: Settings) -> None:
    now_s = 0.0
    probe = BackupProbe(SYSTEM, settings, clock=lambda: now_s)
    now_s = DAY_S
    found = await probe()
    assert found is not None
    assert (found.code, found.message) == ("backup_failed", "there was no drill yet")
    record_drill(settings, 1)
    take_snapshot(settings, 1)
    assert await probe() == found
    now_s += BACKUPS_EVERY_S
    assert await probe() is None
