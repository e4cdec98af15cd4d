from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from barnabee.api.app import make_clock
from barnabee.core.errors import SettingInvalid


def test_clock_uses_the_configured_time_zone() -> None:
    there = make_clock("Asia/Tokyo")()
    assert there.utcoffset() == timedelta(hours=9)
    assert abs(there - datetime.now(UTC)) < timedelta(seconds=5)


def test_clock_without_zone_uses_the_machine_s_own() -> None:
    assert make_clock("")().utcoffset() == datetime.now().astimezone().utcoffset()


@pytest.mark.parametrize("zone", ["Mars/Olympus", "../etc/passwd", "Europe/", "\0"])
def test_unknown_time_zone_is_an_error_that_names_the_setting(zone: str) -> None:
    with pytest.raises(SettingInvalid, match="BARNABEE_TIME_ZONE"):
        make_clock(zone)
