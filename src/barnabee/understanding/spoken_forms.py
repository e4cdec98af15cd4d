"""How times, days, durations and numbers are said in a reply."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, time, timedelta

_NOON, _EVENING, _NIGHT, _HALF_HOUR, _HOUR = 12, 18, 22, 30, 60
_ROUND_MINUTES = {15: "quarter", _HALF_HOUR: "half"}
_DURATION_UNITS = (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1))
_NEAR_DAYS = {0: "today", 1: "tomorrow", -1: "yesterday"}
_WEEK = 7


def say_number(number: int) -> str:
    return _to_words(number, "cardinal")


def say_ordinal(number: int) -> str:
    return _to_words(number, "ordinal")


def say_year(year: int) -> str:
    """Return "nineteen ninety-nine", and figures where there is more than one way to say it."""
    is_plain = year % 100 < 10 or not 1000 <= year < 10_000  # noqa: PLR2004
    return str(year) if is_plain else _to_words(year, "year")


def say_time(clock: time) -> str:
    """Return "twenty past three in the afternoon", "twelve noon", "midnight"."""
    hour, minute = clock.hour, clock.minute
    if minute == 0 and hour % _NOON == 0:
        return "twelve noon" if hour else "midnight"
    if minute % 5:
        minutes = f"{'oh ' if minute < 10 else ''}{say_number(minute)}"  # noqa: PLR2004
        return f"{_say_hour(hour)} {minutes} {_say_part_of_day(hour)}"
    if minute > _HALF_HOUR:
        minutes = _say_round_minutes(_HOUR - minute)
        return f"{minutes} to {_say_hour(hour + 1)} {_say_part_of_day(hour)}"
    if minute:
        return f"{_say_round_minutes(minute)} past {_say_hour(hour)} {_say_part_of_day(hour)}"
    return f"{_say_hour(hour)} o'clock {_say_part_of_day(hour)}"


def say_day(day: date, *, today: date) -> str:
    """Return "Friday, December fourth", with the year if it is not that of `today`."""
    year = "" if day.year == today.year else f", {say_year(day.year)}"
    return f"{day:%A}, {day:%B} {say_ordinal(day.day)}{year}"


def say_near_day(day: date, *, today: date) -> str:
    """Return "today", "tomorrow", "on Friday" within a week, else "on Friday, December fourth"."""
    distance = (day - today).days
    if distance in _NEAR_DAYS:
        return _NEAR_DAYS[distance]
    is_near = 0 < distance < _WEEK
    return f"on {day:%A}" if is_near else f"on {say_day(day, today=today)}"


def say_moment(moment: datetime, now: datetime) -> str:
    """Return "tomorrow at seven o'clock in the morning"."""
    local = moment.astimezone(now.tzinfo)
    return f"{say_near_day(local.date(), today=now.date())} at {say_time(local.time())}"


def say_duration(duration: timedelta) -> str:
    """Return "one hour and thirty minutes"; whole seconds, zero is "no time"."""
    rest, parts = round(duration.total_seconds()), list[str]()
    for unit, size in _DURATION_UNITS:
        count, rest = divmod(rest, size)
        if count:
            number = say_number(count) if count < 100 else str(count)  # noqa: PLR2004
            parts.append(f"{number} {unit}{'s' if count > 1 else ''}")
    return join_spoken(parts) or "no time"


def join_spoken(items: Sequence[str], conjunction: str = "and") -> str:
    """Return "milk, eggs and bread"."""
    head, last = items[:-1], items[-1:]
    return f" {conjunction} ".join(filter(None, (", ".join(head), *last)))


def _to_words(number: int, form: str) -> str:
    from num2words import num2words  # noqa: PLC0415 - takes 0.1 s

    return str(num2words(number, to=form))


def _say_round_minutes(minutes: int) -> str:
    return _ROUND_MINUTES.get(minutes) or say_number(minutes)


def _say_hour(hour: int) -> str:
    return say_number(hour % _NOON or _NOON)


def _say_part_of_day(hour: int) -> str:
    if hour < _NOON:
        return "in the morning"
    if hour < _EVENING:
        return "in the afternoon"
    return "in the evening" if hour < _NIGHT else "at night"
