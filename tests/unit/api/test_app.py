from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from barnabee.api.app import make_clock
from barnabee.core.errors import SettingInvalid


def test_the_clock_is_that_of_the_house() -> None:
    there = make_clock("Asia/Tokyo")()
    assert there.utcoffset() == timedelta(hours=9)
    assert abs(there - datetime.now(UTC)) < timedelta(seconds=5)


def test_without_a_zone_the_machine_s_own_is_used() -> None:
    assert make_clock("")().utcoffset() == datetime.now().astimezone().utcoffset()


@pytest.mark.parametrize("zone", ["Mars/Olympus", "../etc/passwd", "Europe/", "\0"])
def test_a_zone_that_is_none_names_the_setting(zone: str) -> None:
    with pytest.raises(SettingInvalid, match="BARNABEE_TIME_ZONE"):
        make_clock(zone)
