"""Values of slots. It is Saturday, 28 November 2026, 10:00 in Amsterdam."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barnabee.understanding.skill import SlotKind
from barnabee.understanding.slots import (
    MAX_DURATION,
    parse_duration,
    parse_moment,
    parse_slot,
    parse_time_of_day,
    parse_weekdays,
)
from barnabee.understanding.spoken_dates import compute_easter, parse_date
from barnabee.understanding.spoken_forms import say_day, say_duration, say_time

ZONE = ZoneInfo("Europe/Amsterdam")
NOW = datetime(2026, 11, 28, 10, 0, tzinfo=ZONE)
KINDS: tuple[SlotKind, ...] = (
    *("text", "number", "duration", "time", "date", "moment", "weekdays"),
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("ten minutes", 600),
        ("ten minutes and thirty seconds", 630),
        ("1 hour, 20 minutes and 5 seconds", 4805),
        ("an hour", 3600),
        ("an hour and a half", 5400),
        ("one and a half hours", 5400),
        ("half an hour", 1800),
        ("a quarter of an hour", 900),
        ("three quarters of an hour", 2700),
        ("two hours 15", 8100),
        ("1h30", 5400),
        ("1h 30m", 5400),
        ("five-minute", 300),
        ("90 seconds", 90),
        ("a couple of minutes", 120),
        ("a minute and a half", 90),
        ("two days", 172800),
        ("a week", 604800),
        ("PT5M", 300),
        ("zero minutes", None),
        ("minus five minutes", None),
        ("ten", None),
        ("ten minutes and two hours", None),
        ("a million weeks", None),
        ("minutes", None),
        ("ten bananas", None),
    ],
)
def test_durations(text: str, seconds: int | None) -> None:
    duration = parse_duration(text)
    assert (duration.total_seconds() if duration else None) == seconds


@pytest.mark.parametrize(
    ("text", "upcoming", "on_a_day"),
    [
        ("seven", (19, 0), (7, 0)),
        ("at seven", (19, 0), (7, 0)),
        ("eleven", (11, 0), (11, 0)),
        ("three", (15, 0), (15, 0)),
        ("twelve", (12, 0), (12, 0)),
        ("half past seven", (19, 30), (7, 30)),
        ("half seven", (19, 30), (7, 30)),
        ("quarter to 8", (19, 45), (7, 45)),
        ("twenty past three", (15, 20), (15, 20)),
        ("five minutes to ten", (21, 55), (9, 55)),
        ("seven oh five", (19, 5), (7, 5)),
        ("seven thirty pm", (19, 30), (19, 30)),
        ("8:15 a.m.", (8, 15), (8, 15)),
        ("7.30", (19, 30), (7, 30)),
        ("07:30", (7, 30), (7, 30)),
        ("0730", (7, 30), (7, 30)),
        ("19:30", (19, 30), (19, 30)),
        ("6 o'clock in the morning", (6, 0), (6, 0)),
        ("ten at night", (22, 0), (22, 0)),
        ("two at night", (2, 0), (2, 0)),
        ("noon", (12, 0), (12, 0)),
        ("midnight", (0, 0), (0, 0)),
        ("quarter past noon", (12, 15), (12, 15)),
        ("quarter to midnight", (23, 45), (23, 45)),
        ("25:00", None, None),
        ("7:77", None, None),
        ("lunch", None, None),
    ],
)
def test_times_of_day(
    text: str, upcoming: tuple[int, int] | None, on_a_day: tuple[int, int] | None
) -> None:
    assert parse_time_of_day(text, NOW) == (time(*upcoming) if upcoming else None)
    found = parse_time_of_day(text, NOW, has_day=True)
    assert found == (time(*on_a_day) if on_a_day else None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("today", "2026-11-28"),
        ("tomorrow", "2026-11-29"),
        ("the day after tomorrow", "2026-11-30"),
        ("the day before yesterday", "2026-11-26"),
        ("Friday", "2026-12-04"),
        ("on Friday", "2026-12-04"),
        ("this friday", "2026-12-04"),
        ("next Friday", "2026-12-04"),
        ("last friday", "2026-11-27"),
        ("saturday", "2026-12-05"),
        ("this weekend", "2026-11-28"),
        ("monday in two weeks", "2026-12-14"),
        ("in three days", "2026-12-01"),
        ("two weeks from now", "2026-12-12"),
        ("a week ago", "2026-11-21"),
        ("next week", "2026-12-05"),
        ("in a month", "2026-12-28"),
        ("the fifth of May", "2027-05-05"),
        ("May fifth", "2027-05-05"),
        ("May the fifth 2028", "2028-05-05"),
        ("december twenty fourth", "2026-12-24"),
        ("twenty first of june twenty twenty seven", "2027-06-21"),
        ("the 5th", "2026-12-05"),
        ("the 31st", "2026-12-31"),
        ("Monday the fifth of May", "2027-05-05"),
        ("2026-12-03", "2026-12-03"),
        ("Christmas this year", "2026-12-25"),
        ("New Year's Eve", "2026-12-31"),
        ("Easter", "2027-03-28"),
        ("Good Friday 2028", "2028-04-14"),
        ("feb 29", "2028-02-29"),
        ("february 30", None),
        ("in nine million years", None),
        ("banana", None),
        ("", None),
    ],
)
def test_days(text: str, expected: str | None) -> None:
    assert parse_date(text, NOW.date()) == (date.fromisoformat(expected) if expected else None)


def test_next_friday_is_that_of_next_week() -> None:
    wednesday = date(2026, 12, 2)
    assert parse_date("Friday", wednesday) == date(2026, 12, 4)
    assert parse_date("next Friday", wednesday) == date(2026, 12, 11)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("in 20 minutes", "2026-11-28T10:20"),
        ("half an hour from now", "2026-11-28T10:30"),
        ("at seven", "2026-11-28T19:00"),
        ("7 in the morning", "2026-11-29T07:00"),
        ("noon", "2026-11-28T12:00"),
        ("midnight", "2026-11-29T00:00"),
        ("tomorrow at midnight", "2026-11-30T00:00"),
        ("tonight", "2026-11-28T20:00"),
        ("tonight at nine", "2026-11-28T21:00"),
        ("tonight at two", "2026-11-29T02:00"),
        ("this afternoon at four", "2026-11-28T16:00"),
        ("today at six", "2026-11-28T18:00"),
        ("tomorrow", "2026-11-29T09:00"),
        ("tomorrow morning", "2026-11-29T08:00"),
        ("tomorrow evening at 8", "2026-11-29T20:00"),
        ("at eight tomorrow", "2026-11-29T08:00"),
        ("8 tomorrow morning", "2026-11-29T08:00"),
        ("tomorrow at half past six", "2026-11-29T06:30"),
        ("next friday at noon", "2026-12-04T12:00"),
        ("eight o'clock on monday", "2026-11-30T08:00"),
        ("on the fifth of May at 3 pm", "2027-05-05T15:00"),
        ("in three days at noon", "2026-12-01T12:00"),
        ("2026-12-01T10:00", "2026-12-01T10:00"),
        ("the morning", None),
        ("banana", None),
    ],
)
def test_moments(text: str, expected: str | None) -> None:
    moment = datetime.fromisoformat(expected).replace(tzinfo=ZONE) if expected else None
    assert parse_moment(text, NOW) == moment


def test_a_duration_counts_through_the_clock_change() -> None:
    before = datetime(2027, 3, 28, 1, 30, tzinfo=ZONE)
    moment = parse_moment("in an hour", before)
    assert moment is not None
    assert moment.isoformat() == "2027-03-28T03:30:00+02:00"


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("weekdays", "01234"),
        ("every weekday", "01234"),
        ("weekends", "56"),
        ("every day", "0123456"),
        ("daily", "0123456"),
        ("every Monday", "0"),
        ("mondays and wednesdays", "02"),
        ("on tuesday, thursday and friday", "134"),
        ("monday to friday", "01234"),
        ("friday to monday", "4560"),
        ("every banana", None),
    ],
)
def test_weekdays(text: str, days: str | None) -> None:
    assert parse_weekdays(text) == (frozenset(map(int, days)) if days else None)


def test_a_value_has_few_words() -> None:
    """A long one would take the parser of moments seconds."""
    assert parse_slot("moment", "tomorrow evening at a quarter to nine", NOW) is not None
    assert parse_slot("moment", "on " * 10 + "friday", NOW) is not None
    assert parse_slot("moment", "on " * 20 + "friday", NOW) is None


@given(st.sampled_from(KINDS), st.text(max_size=60))
def test_no_text_is_an_error(kind: SlotKind, text: str) -> None:
    parse_slot(kind, text, NOW)


@given(st.times().map(lambda clock: clock.replace(second=0, microsecond=0)))
def test_a_spoken_time_is_read_back(clock: time) -> None:
    assert parse_time_of_day(say_time(clock), NOW) == clock


@given(st.dates(date(2000, 1, 1), date(2099, 12, 31)))
def test_a_spoken_day_is_read_back(day: date) -> None:
    said = say_day(day, today=date(1999, 1, 1)).replace("-", " ")
    assert parse_date(said, NOW.date()) == day


@given(st.integers(1, int(MAX_DURATION.total_seconds())))
def test_a_spoken_duration_is_read_back(seconds: int) -> None:
    duration = timedelta(seconds=seconds)
    assert parse_duration(say_duration(duration)) == duration


@given(st.times(), st.datetimes(timezones=st.just(ZONE)))
def test_a_time_is_within_a_day(clock: time, now: datetime) -> None:
    moment = parse_moment(f"{clock:%H:%M}", now)
    assert moment is not None
    assert timedelta(0) < moment - now <= timedelta(days=1)


@pytest.mark.parametrize(
    ("year", "day"), [(2024, (3, 31)), (2025, (4, 20)), (2026, (4, 5)), (2038, (4, 25))]
)
def test_easter(year: int, day: tuple[int, int]) -> None:
    assert compute_easter(year) == date(year, *day)
