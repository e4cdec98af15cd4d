"""Backup scheduler: which task is due."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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


@pytest.mark.parametrize(
    ("zone", "night"),
    [
        ("Europe/Helsinki", datetime(2026, 3, 28, 12, tzinfo=UTC)),  # 03:00 to 04:00 is skipped
        ("Europe/Helsinki", datetime(2026, 10, 24, 12, tzinfo=UTC)),  # and is there twice
        ("Europe/London", datetime(2026, 3, 28, 12, tzinfo=UTC)),
        ("America/Havana", datetime(2026, 3, 7, 12, tzinfo=UTC)),
        ("Australia/Lord_Howe", datetime(2026, 10, 3, 12, tzinfo=UTC)),
        ("Antarctica/Troll", datetime(2026, 3, 28, 12, tzinfo=UTC)),
        ("Asia/Kathmandu", datetime(2028, 2, 28, 12, tzinfo=UTC)),
    ],
)
@pytest.mark.parametrize(("snapshot_at", "drill_at"), [("03:10", "03:40"), ("00:10", "02:40")])
def test_each_task_runs_once_a_night_also_when_the_clocks_change(
    zone: str, night: datetime, snapshot_at: str, drill_at: str
) -> None:
    system = with_backup_settings(SYSTEM, snapshot_at=snapshot_at, drill_at=drill_at)
    before = night - timedelta(hours=1)
    runs: dict[str, list[datetime]] = {"snapshot": [before], "drill": [before]}
    for minutes in range(0, 2 * 24 * 60, 2):
        now = night + timedelta(minutes=minutes)
        last = LastRuns(runs["snapshot"][-1], runs["drill"][-1], None)
        if task := choose_due_task(system, last, now, LONG_S, ZoneInfo(zone)):
            runs[task].append(now)
    assert {task: len(times) - 1 for task, times in runs.items()} == {"snapshot": 2, "drill": 2}


# Minutes, hours, days, and years with a leap day.
JUMPS_S = st.sampled_from([60, 600, 3000, 5000, 86400, 3 * 86400, 366 * 86400, 3 * 31557600])


@given(
    jumps=st.lists(
        st.tuples(st.integers(1, 40), JUMPS_S, st.sampled_from([-1, 1])), min_size=1, max_size=4
    ),
    zone=st.sampled_from(["Europe/Helsinki", "America/Havana", "Australia/Lord_Howe", "UTC"]),
)
@settings(deadline=None)
def test_after_a_jump_of_the_clock_tasks_run_daily_again(
    jumps: list[tuple[int, int, int]], zone: str
) -> None:
    real_s, offset_s, runs = 0, 0, {"snapshot": [0], "drill": [0]}
    recorded = dict.fromkeys(runs, NOON)
    for hours, jump_s, sign in [*jumps, (60, 0, 1)]:
        for _ in range(hours * 6):
            real_s += 600
            now = NOON + timedelta(seconds=real_s + offset_s)
            last = LastRuns(recorded["snapshot"], recorded["drill"], None)
            if task := choose_due_task(SYSTEM, last, now, LONG_S, ZoneInfo(zone)):
                runs[task].append(real_s)
                recorded[task] = now
        offset_s += sign * jump_s
    for times in runs.values():
        # A clock set back may hide up to an hour less than the skew that is not noticed.
        assert max(b - a for a, b in pairwise([*times, real_s])) <= (25 + len(jumps)) * 3600 * 1.2
        assert len(times) - 1 <= real_s / 86400 + 1 + 2 * len(jumps)


def test_runs_of_a_clock_that_was_ahead_do_not_delay_the_next_ones() -> None:
    ahead = datetime(2033, 1, 1, tzinfo=UTC)
    due = []
    last = LastRuns(ahead, ahead, ahead)
    for _ in range(3):
        task = choose_due_task(COPYING, last, NOON, LONG_S)
        assert task is not None
        due.append(task)
        last = replace(last, **{task: NOON})
    assert due == ["snapshot", "drill", "audio"]
    assert choose_due_task(COPYING, last, NOON, LONG_S) is None


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
