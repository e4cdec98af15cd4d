"""The clock of the home, and the skills in their order."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from structlog.testing import capture_logs

from barnabee.api.assistant import HomeClock, make_skills
from barnabee.core.errors import SettingInvalid
from barnabee.core.schema import RoutineConfig
from barnabee.core.schema.assistant import RoutineAction
from barnabee.understanding.sentence_matcher import SentenceMatcher

NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)


def test_the_clock_uses_the_configured_time_zone() -> None:
    there = HomeClock("Asia/Tokyo", lambda: NOON)()
    assert (there, there.utcoffset()) == (NOON, timedelta(hours=9))


def test_the_clock_without_a_zone_uses_that_of_the_machine() -> None:
    assert HomeClock("")().utcoffset() == datetime.now().astimezone().utcoffset()


@pytest.mark.parametrize("zone", ["Mars/Olympus", "../etc/passwd", "Europe/", "\0"])
def test_an_unknown_time_zone_is_an_error_that_names_the_setting(zone: str) -> None:
    with pytest.raises(SettingInvalid, match="BARNABEE_TIME_ZONE"):
        HomeClock(zone)


def test_the_time_zone_of_home_assistant_counts_and_is_warned_about_once() -> None:
    clock = HomeClock("UTC", lambda: NOON)
    with capture_logs() as logs:
        at_home = clock("Europe/Amsterdam")
        clock("Europe/Amsterdam")
    assert (at_home.hour, at_home) == (13, NOON)
    assert [entry["reason"] for entry in logs] == ["here it is 12:00, at home 13:00"]


def test_the_same_time_zone_is_no_warning() -> None:
    with capture_logs() as logs:
        assert HomeClock("Europe/Berlin", lambda: NOON)("Europe/Amsterdam").hour == 13
    assert logs == []


@pytest.mark.parametrize("zone", ["Mars/Olympus", "../etc/passwd", ""])
def test_an_unknown_time_zone_of_home_assistant_is_not_used(zone: str) -> None:
    with capture_logs() as logs:
        assert HomeClock("UTC", lambda: NOON)(zone) == NOON
    assert [entry["code"] for entry in logs] == ["setting_invalid"]


def test_a_routine_of_the_family_comes_before_the_skills() -> None:
    action = RoutineAction(service="scene.turn_on", entities=["scene.bedtime"])
    routine = RoutineConfig(sentences=["what time is it"], actions=[action])
    skills = make_skills({"bedtime": routine}, None)
    calls = SentenceMatcher(skills).match("what time is it", NOON)
    assert calls[0].intent.endswith("bedtime")
