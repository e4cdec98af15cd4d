"""Backup scheduler: which task is due."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from barnabee.core import system as system_module
from barnabee.workers.backups import (
    AFTER_START_S,
    FIRST_EVER_AFTER_S,
    LastRuns,
    choose_due_task,
)
from support.backup import with_backup_settings

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
LONG_S = FIRST_EVER_AFTER_S
TODAY, YESTERDAY = NOON.replace(hour=4), NOON - timedelta(days=1)
SYSTEM = with_backup_settings(system_module.load_system(), snapshot_at="03:10", drill_at="03:40")
COPYING = with_backup_settings(SYSTEM, audio_to="/mnt/nas", audio_every_s=3600)


@pytest.mark.parametrize(
    ("last_runs", "up_s", "expected"),
    [
        (LastRuns(TODAY, TODAY, None), LONG_S, None),
        (LastRuns(YESTERDAY, TODAY, None), LONG_S, "snapshot"),
        (LastRuns(TODAY, YESTERDAY, None), LONG_S, "drill"),
        (LastRuns(YESTERDAY, YESTERDAY, None), LONG_S, "snapshot"),
        (LastRuns(YESTERDAY, YESTERDAY, None), AFTER_START_S - 1, None),
        (LastRuns(None, None, None), AFTER_START_S, None),
        (LastRuns(None, None, None), LONG_S, "snapshot"),
        (LastRuns(TODAY, None, None), LONG_S, "drill"),
    ],
)
def test_missed_tasks_are_due_some_time_after_the_start(
    last_runs: LastRuns, up_s: float, expected: str | None
) -> None:
    assert choose_due_task(SYSTEM, last_runs, NOON, up_s, drill_requested=False) == expected


def test_a_requested_drill_is_due_at_once() -> None:
    assert (
        choose_due_task(SYSTEM, LastRuns(None, None, None), NOON, 1.0, drill_requested=True)
        == "drill"
    )


def test_recordings_are_copied_every_hour_where_configured() -> None:
    recent = LastRuns(TODAY, TODAY, NOON - timedelta(minutes=59))
    late = LastRuns(TODAY, TODAY, NOON - timedelta(minutes=60))
    assert choose_due_task(COPYING, recent, NOON, LONG_S, drill_requested=False) is None
    assert choose_due_task(COPYING, late, NOON, LONG_S, drill_requested=False) == "audio"
    assert (
        choose_due_task(COPYING, LastRuns(TODAY, TODAY, None), NOON, LONG_S, drill_requested=False)
        == "audio"
    )
    assert (
        choose_due_task(SYSTEM, LastRuns(TODAY, TODAY, None), NOON, LONG_S, drill_requested=False)
        is None
    )
