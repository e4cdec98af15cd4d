"""Days as people say and write them: "next Friday", "the fifth of May", "Easter", "in three days".

A day without a year is the next one from today on. A bare weekday is the next one after today,
"next Friday" is that of next week, weeks beginning on Monday.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Callable
from datetime import date, timedelta
from functools import lru_cache

from barnabee.understanding.spoken_numbers import NUMBER_WORDS, ORDINAL_WORDS, replace_number_words

WEEKDAYS = {name.lower(): number for number, name in enumerate(calendar.day_name)}
MONTHS = {name.lower(): number for number, name in enumerate(calendar.month_name) if number}
_SHORT_MONTHS = {name[:3]: number for name, number in MONTHS.items()} | {"sept": 9}
_ALL_MONTHS = MONTHS | _SHORT_MONTHS
_SHIFTS = {
    "today": 0,
    "tonight": 0,
    "tomorrow": 1,
    "yesterday": -1,
    "day after tomorrow": 2,
    "day before yesterday": -2,
    "tomorrow week": 8,
    "last night": -1,
    "tomorrow night": 1,
}
_UNIT_DAYS = {"day": 1, "week": 7, "fortnight": 14}
_COUNTS = {"a": 1, "an": 1, "couple of": 2, "a couple of": 2}
_MONTH_PATTERN = "|".join(sorted(_ALL_MONTHS, key=len, reverse=True))
_DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?"
_YEAR = r"(?:,? (?:in |of )?(?P<year>\d{4}|(?:19|20) \d{2}|this year|next year|last year))?"
_DAY_MONTH = re.compile(rf"(?:the )?{_DAY}(?: of)? (?P<month>{_MONTH_PATTERN}){_YEAR}")
_MONTH_DAY = re.compile(rf"(?P<month>{_MONTH_PATTERN})(?: the)? {_DAY}{_YEAR}")
_DAY_ALONE = re.compile(r"(?:the )?(?P<day>\d{1,2})(?:st|nd|rd|th)(?: of (?:this|the) month)?")
_ISO = re.compile(r"(\d{4})-(\d{2})-(\d{2})")
_WEEKDAY_PATTERN = "|".join(WEEKDAYS)
_WEEKDAY = re.compile(
    rf"(?P<which>this coming |this |coming |next |last |the )?(?P<name>{_WEEKDAY_PATTERN})s?"
    r"(?P<week> next week| week| in (?P<weeks>\d+) weeks| in a week)?"
)
_SHIFT = re.compile(
    r"(?P<count>a|an|a couple of|couple of|\d+) (?P<unit>day|week|fortnight|month|year)s?"
    r"(?P<side> ago| from now| from today)?"
)
_NEXT_UNIT = re.compile(r"(?P<side>next|last) (?P<unit>week|month|year)")
_LEADING = re.compile(r"^(?:(?:on|for|by|at|due|until|till) )+")
_HOLIDAY_YEAR = re.compile(rf"(?P<name>.+?){_YEAR}")
_FRIDAY, _SATURDAY, _MONTHS_A_YEAR, _MAX_COUNT = 4, 5, 12, 4000


def compute_easter(year: int) -> date:
    """Return Easter Sunday of a Gregorian year (Butcher's algorithm)."""
    golden, century, rest = year % 19, year // 100, year % 100
    moon = (8 * century + 13) // 25
    epact = (19 * golden + century - century // 4 - moon + 15) % 30
    weekday = (32 + 2 * (century % 4) + 2 * (rest // 4) - epact - rest % 4) % 7
    shift = (golden + 11 * epact + 22 * weekday) // 451
    month, day = divmod(epact + weekday - 7 * shift + 114, 31)
    return date(year, month, day + 1)


def _nth_weekday(year: int, month: int, weekday: int, nth: int) -> date:
    """Return the `nth` `weekday` of a month; -1 is the last one."""
    days = [day for week in calendar.monthcalendar(year, month) if (day := week[weekday])]
    return date(year, month, days[nth - 1 if nth > 0 else nth])


def _make_fixed(month: int, day: int) -> Callable[[int], date]:
    return lambda year: date(year, month, day)


def _after_easter(days: int) -> Callable[[int], date]:
    return lambda year: compute_easter(year) + timedelta(days)


HOLIDAYS: dict[str, Callable[[int], date]] = {
    "new year": _make_fixed(1, 1),
    "new year's day": _make_fixed(1, 1),
    "valentine's day": _make_fixed(2, 14),
    "valentine's": _make_fixed(2, 14),
    "saint patrick's day": _make_fixed(3, 17),
    "april fools' day": _make_fixed(4, 1),
    "independence day": _make_fixed(7, 4),
    "halloween": _make_fixed(10, 31),
    "bonfire night": _make_fixed(11, 5),
    "saint nicholas day": _make_fixed(12, 6),
    "christmas eve": _make_fixed(12, 24),
    "christmas": _make_fixed(12, 25),
    "christmas day": _make_fixed(12, 25),
    "boxing day": _make_fixed(12, 26),
    "new year's eve": _make_fixed(12, 31),
    "good friday": _after_easter(-2),
    "easter": _after_easter(0),
    "easter sunday": _after_easter(0),
    "easter monday": _after_easter(1),
    "ascension day": _after_easter(39),
    "pentecost": _after_easter(49),
    "thanksgiving": lambda year: _nth_weekday(year, 11, 3, 4),
    "thanksgiving day": lambda year: _nth_weekday(year, 11, 3, 4),
    "black friday": lambda year: _nth_weekday(year, 11, 3, 4) + timedelta(1),
    "memorial day": lambda year: _nth_weekday(year, 5, 0, -1),
    "labor day": lambda year: _nth_weekday(year, 9, 0, 1),
    "mother's day": lambda year: _nth_weekday(year, 5, 6, 2),
    "father's day": lambda year: _nth_weekday(year, 6, 6, 3),
}
_HOLIDAY_KEYS = {name.replace("'", ""): find for name, find in HOLIDAYS.items()}
DATE_WORDS = NUMBER_WORDS | ORDINAL_WORDS | set(_ALL_MONTHS) | set(WEEKDAYS)
DATE_WORDS |= {f"{name}s" for name in WEEKDAYS} | {
    word for name in HOLIDAYS for part in name.split() for word in (part, part.replace("'", ""))
}
DATE_WORDS |= {
    *("on", "for", "by", "at", "due", "until", "the", "of", "in", "today", "tonight", "tomorrow"),
    *("yesterday", "after", "before", "day", "days", "week", "weeks", "month", "months", "year"),
    *("years", "fortnight", "this", "coming", "next", "last", "ago", "from", "now", "weekend"),
    *("couple", "night", "st", "till"),
}


@lru_cache(maxsize=1024)  # the matcher tries the same words in many templates
def parse_date(text: str, today: date) -> date | None:
    """Return the day that all of `text` says, None if it says none."""
    figures = replace_number_words(text.replace("'s day", "s day"), with_ordinals=True)
    figures = _LEADING.sub("", figures.replace("&", "and"))
    for parse in (_parse_shift, _parse_weekday, _parse_calendar_day, _parse_holiday):
        try:
            found = parse(figures, today)
        except (ValueError, OverflowError):  # the 30th of February, the year 12000
            return None
        if found is not None:
            return found
    return None


def add_months(day: date, months: int) -> date:
    """Return `day` some months later, or the last day of a shorter month."""
    year, month = divmod(day.year * _MONTHS_A_YEAR + day.month - 1 + months, _MONTHS_A_YEAR)
    return date(year, month + 1, min(day.day, calendar.monthrange(year, month + 1)[1]))


def _parse_shift(text: str, today: date) -> date | None:
    days = _SHIFTS.get(text.removeprefix("the "))
    if days is not None:
        return today + timedelta(days)
    if text in {"this weekend", "the weekend", "next weekend"}:
        saturday = today + timedelta((_SATURDAY - today.weekday()) % 7)
        return saturday + timedelta(7 if text.startswith("next") else 0)
    if match := _NEXT_UNIT.fullmatch(text):
        return _shift(today, 1 if match["side"] == "next" else -1, match["unit"])
    has_in = text.startswith("in ")
    match = _SHIFT.fullmatch(text.removeprefix("in "))
    if match is None or has_in == bool(match["side"]):
        return None
    count = _COUNTS.get(match["count"]) or int(match["count"])
    if count > _MAX_COUNT:
        return None
    return _shift(today, -count if match["side"] == " ago" else count, match["unit"])


def _shift(day: date, count: int, unit: str) -> date:
    if unit in _UNIT_DAYS:
        return day + timedelta(count * _UNIT_DAYS[unit])
    return add_months(day, count * (_MONTHS_A_YEAR if unit == "year" else 1))


def _parse_weekday(text: str, today: date) -> date | None:
    match = _WEEKDAY.fullmatch(text)
    if match is None:
        return None
    which, number = (match["which"] or "").strip(), WEEKDAYS[match["name"]]
    ahead = (number - today.weekday() - 1) % 7 + 1  # 1 to 7
    monday = today - timedelta(today.weekday())
    if which == "last":
        return today + timedelta(ahead - 7 if ahead < 7 else -7)  # noqa: PLR2004 - a week
    if which == "next" or match["week"] == " next week":
        return monday + timedelta(7 + number)
    if which == "this" and number == today.weekday():
        return today
    weeks = int(match["weeks"] or 0) or (1 if match["week"] else 0)
    return today + timedelta(ahead + 7 * weeks)


def _parse_calendar_day(text: str, today: date) -> date | None:
    if match := _ISO.fullmatch(text):
        return date(int(match[1]), int(match[2]), int(match[3]))
    weekday, _, rest = text.partition(" ")
    text = rest if weekday in WEEKDAYS else text
    if match := _DAY_MONTH.fullmatch(text) or _MONTH_DAY.fullmatch(text):
        month, day = _ALL_MONTHS[match["month"]], int(match["day"])
        return _find_year(lambda year: date(year, month, day), match["year"], today)
    if match := _DAY_ALONE.fullmatch(text):
        day, month_start = int(match["day"]), today.replace(day=1)
        for months in range(int(day < today.day), _MONTHS_A_YEAR):
            start = add_months(month_start, months)
            if 0 < day <= calendar.monthrange(start.year, start.month)[1]:
                return start.replace(day=day)
    return None


def _parse_holiday(text: str, today: date) -> date | None:
    match = _HOLIDAY_YEAR.fullmatch(text.replace("'", ""))
    if match is None:
        return None
    name = re.sub(r"^(?:the|this|next) |^new years$", "", match["name"]) or "new year"
    find = _HOLIDAY_KEYS.get(re.sub(r"^st\.? ", "saint ", name))
    return None if find is None else _find_year(find, match["year"], today)


def _find_year(find: Callable[[int], date], year: str | None, today: date) -> date | None:
    """Return the day of the year that was said, else the next one from today on."""
    if year is None:
        for shift in range(9):  # 29 February
            try:
                found = find(today.year + shift)
            except ValueError:
                continue
            if found >= today:
                return found
        return None
    shifts = {"this year": 0, "next year": 1, "last year": -1}
    return find(today.year + shifts[year] if year in shifts else int(year.replace(" ", "")))
