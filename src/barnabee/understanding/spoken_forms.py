"""How times, days, durations and numbers are said."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from functools import lru_cache

_NOON, _EVENING, _NIGHT, _HALF_HOUR, _HOUR = 12, 18, 22, 30, 60
_ROUND_MINUTES = {15: "quarter", _HALF_HOUR: "half"}
_DURATION_UNITS = (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1))
_NEAR_DAYS = {0: "today", 1: "tomorrow", -1: "yesterday"}
_WEEK = 7
_MAX_CARDINAL_DIGITS = 12  # a longer number is read digit by digit
_DENOMINATORS = {*range(2, 13), 15, 16, 20, 32, 64, 100}


def say_number(number: int) -> str:
    return _to_words(number, "cardinal")


def say_ordinal(number: int) -> str:
    return _to_words(number, "ordinal")


def say_year(year: int) -> str:
    """Return "nineteen ninety-nine", "nineteen oh five", "two thousand and five"."""
    return _to_words(year, "year").replace("oh-", "oh ")


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


def say_date(year: int, month: int, day: int) -> str | None:
    """Return "November twenty-eighth, twenty twenty-six"; None for what is no date."""
    try:
        spoken = date(year, month, day)
    except ValueError:
        return None
    return f"{spoken:%B} {say_ordinal(day)}, {say_year(year)}"


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


def spell_digits(figures: str) -> str:
    """Return "five five five"; anything but the digits 0 to 9 is left out."""
    return " ".join(say_number(int(figure)) for figure in figures if figure.isdecimal())


def say_figures(figures: str) -> str:
    """Return the words of "1,234.5"; a number with a leading zero is read digit by digit."""
    whole, point, decimals = figures.replace(",", "").partition(".")
    if len(whole) > _MAX_CARDINAL_DIGITS or (len(whole) > 1 and whole.startswith("0")):
        words = spell_digits(whole)
    else:
        words = say_number(int(whole or "0")).replace(",", "")
    return f"{words} point {spell_digits(decimals)}" if point and decimals else words


def say_amount(amount: str) -> str:
    """Return the words of a number, a fraction ("3/4") or both ("1 1/2")."""
    if "/" not in amount:
        return say_figures(amount)
    *whole, fraction = re.split(r"[ -]", amount)
    top, bottom = map(int, fraction.split("/"))
    if bottom not in _DENOMINATORS or top >= bottom:
        words = f"{say_number(top)} over {say_number(bottom)}".replace(",", "")
        return " ".join([*map(say_figures, whole), words])
    name = {2: "half", 4: "quarter"}.get(bottom) or say_ordinal(bottom)
    if whole:
        article = "an" if name.startswith("e") else "a"
        part = f"{article} {name}" if top == 1 else f"{say_number(top)} {name}s"
        return f"{say_figures(whole[0])} and {part}"
    return f"{say_number(top)} {name}" + ("" if top == 1 else "s")


def say_clock(hour: int, minute: int, half: str = "") -> str:
    """Return "seven oh five", "twelve o'clock", "nineteen thirty", "seven P M"."""
    if half:
        minutes = f" {_say_clock_minute(minute)}" if minute else ""
        return f"{say_number(hour)}{minutes} {half.upper()} M"
    if minute:
        return f"{say_number(hour)} {_say_clock_minute(minute)}"
    if hour in {0, 24}:
        return "midnight"
    return f"{say_number(hour)} o'clock" if hour <= 12 else f"{say_number(hour)} hundred"  # noqa: PLR2004


def _say_clock_minute(minute: int) -> str:
    return f"{'oh ' if minute < 10 else ''}{say_number(minute)}"  # noqa: PLR2004


def count_unit(amount: str, forms: str) -> str:
    """Return `forms` ("foot/feet") in the number that follows `amount`."""
    singular, _, plural = forms.partition("/")
    is_one = amount in {"1", "1/1"} or ("/" in amount and not re.search(r"[ -]", amount))
    return singular if is_one else plural or f"{singular}s"


def join_spoken(items: Sequence[str], conjunction: str = "and") -> str:
    """Return "milk, eggs and bread"."""
    head, last = items[:-1], items[-1:]
    return f" {conjunction} ".join(filter(None, (", ".join(head), *last)))


@lru_cache(maxsize=1024)
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
