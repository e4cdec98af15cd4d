from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from barnabee.core import system as system_module
from barnabee.workers.backup_scheduler import AFTER_START_S, FIRST_EVER_AFTER_S, Known, due
from support.backup import with_backup

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
LONG_S = FIRST_EVER_AFTER_S
TODAY, YESTERDAY = NOON.replace(hour=4), NOON - timedelta(days=1)
SYSTEM = with_backup(system_module.load(), snapshot_at="03:10", drill_at="03:40")
COPYING = with_backup(SYSTEM, audio_to="/mnt/nas", audio_every_s=3600)


@pytest.mark.parametrize(
    ("known", "up_s", "expected"),
    [
        (Known(TODAY, TODAY, None), LONG_S, None),
        (Known(YESTERDAY, TODAY, None), LONG_S, "snapshot"),
        (Known(TODAY, YESTERDAY, None), LONG_S, "drill"),
        (Known(YESTERDAY, YESTERDAY, None), LONG_S, "snapshot"),
        (Known(YESTERDAY, YESTERDAY, None), AFTER_START_S - 1, None),
        (Known(None, None, None), AFTER_START_S, None),
        (Known(None, None, None), LONG_S, "snapshot"),
        (Known(TODAY, None, None), LONG_S, "drill"),
    ],
)
def test_what_was_missed_is_done_once_the_house_is_up(
    known: Known, up_s: float, expected: str | None
) -> None:
    assert due(SYSTEM, known, NOON, up_s, asked=False) == expected


def test_what_was_asked_for_is_done_at_once() -> None:
    assert due(SYSTEM, Known(None, None, None), NOON, 1.0, asked=True) == "drill"


def test_recordings_are_copied_every_hour_where_they_are_to_be() -> None:
    done = Known(TODAY, TODAY, NOON - timedelta(minutes=59))
    late = Known(TODAY, TODAY, NOON - timedelta(minutes=60))
    assert due(COPYING, done, NOON, LONG_S, asked=False) is None
    assert due(COPYING, late, NOON, LONG_S, asked=False) == "audio"
    assert due(COPYING, Known(TODAY, TODAY, None), NOON, LONG_S, asked=False) == "audio"
    assert due(SYSTEM, Known(TODAY, TODAY, None), NOON, LONG_S, asked=False) is None
