from __future__ import annotations

from datetime import UTC, datetime, timedelta

from barnabee.backup import status
from barnabee.core import system as system_module

SYSTEM = system_module.load_system()


NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def test_the_next_time_of_day_is_today_or_tomorrow() -> None:
    assert status.next_time_of_day("12:30", NOON) == NOON + timedelta(minutes=30)
    assert status.next_time_of_day("12:00", NOON) == NOON + timedelta(days=1)
    assert status.next_time_of_day("03:10", NOON) == NOON + timedelta(hours=15, minutes=10)


def test_each_problem_has_a_warning() -> None:
    found = {
        "replica": {"error": None, "lag_transactions": 4},
        "snapshot": {
            "at": (NOON - timedelta(hours=40)).isoformat(),
            "encrypted": True,
            "missing": "restic is not installed",
        },
        "recovery_kit": False,
        "offsite": None,
        "drill": {"last": {"success": False, "step": "replica: fetch", "reason": "lz4"}},
        "audio": {"failures": 2, "reason": "the NAS is away"},
    }
    warnings = status.list_warnings(found, SYSTEM, NOON)
    assert len(warnings) == 7
    assert warnings[5] == "the last drill failed at the step `replica: fetch`: lz4"
