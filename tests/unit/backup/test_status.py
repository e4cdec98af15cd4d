from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from barnabee.backup import status
from barnabee.core import system as system_module

SYSTEM = system_module.load_system()


NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


# Northern, southern, half an hour, at midnight, two hours, around Ramadan, and none at all.
ZONES = (
    *("Europe/Helsinki", "Europe/London", "America/St_Johns", "America/Havana"),
    *("Asia/Beirut", "Africa/Casablanca", "Africa/Cairo", "Antarctica/Troll"),
    *("Australia/Lord_Howe", "Pacific/Chatham", "Asia/Kathmandu", "UTC"),
)


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("clock", ["00:00", "02:15", "03:10"])
def test_each_day_of_a_leap_year_is_due_once(zone: str, clock: str) -> None:
    place = ZoneInfo(zone)
    begin = datetime(2028, 1, 1, 12, tzinfo=UTC)
    at, days = begin, []
    while at < begin + timedelta(days=366):
        due = status.next_due_time(clock, at, place)
        assert timedelta(0) < due - at <= timedelta(hours=27)
        for earlier in (timedelta(0), timedelta(minutes=1)):
            assert status.last_due_time(clock, due + earlier, place) == due
        assert status.last_due_time(clock, due - timedelta(seconds=1), place) < due
        local = due.astimezone(place)
        # Later only where daylight saving skips it.
        assert f"{local:%H:%M}" == clock or local.replace(tzinfo=None) not in days
        days.append((local - timedelta(hours=int(clock[:2]), minutes=int(clock[3:]))).date())
        at = due
    assert sorted(set(days)) == days
    assert (days[-1] - days[0]).days == len(days) - 1


def test_without_a_zone_it_is_that_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Europe/Helsinki")
    time.tzset()
    try:
        for day in (datetime(2026, 3, 28, 12, tzinfo=UTC), datetime(2026, 10, 24, 12, tzinfo=UTC)):
            for clock in ("03:10", "03:40"):
                expected = status.next_due_time(clock, day, ZoneInfo("Europe/Helsinki"))
                assert status.next_due_time(clock, day, None) == expected
    finally:
        monkeypatch.undo()
        time.tzset()


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
        "substitute": {"at": "2026-01-31", "source": "the snapshot 1a2b", "reason": "lz4"},
    }
    warnings = status.list_warnings(found, SYSTEM, NOON)
    assert len(warnings) == 8
    assert "on 2026-01-31 the snapshot 1a2b was used" in warnings[0]
    assert "`barnabee backup acknowledge`" in warnings[0]
    assert warnings[6] == "the last drill failed at the step `replica: fetch`: lz4"
