"""Dates and times as English words. Pure.

Written forms are those of the United States, and others where they cannot be mistaken: 28/11/2026,
28.11.2026, 24-hour times.
"""

from __future__ import annotations

import re

from barnabee.understanding.spoken_forms import (
    count_unit,
    say_clock,
    say_date,
    say_number,
    say_ordinal,
    say_year,
)
from barnabee.understanding.written_quantities import FORMS, Rule, join_alternatives, make_rule

_MONTHS: dict[str, str] = FORMS["months"] | {name: name for name in FORMS["months"].values()}
_MONTH = rf"(?:{join_alternatives(tuple(_MONTHS))})\b\.?"
_DAY = r"\d{1,2}(?:st|nd|rd|th)?"
_YEAR = r"(?:1[1-9]|20)\d\d"
_HALF = r"([AaPp])(?:\.\s?[Mm]\.|[Mm]\b)"
_START = r"(?<![\w.,/])"
_TO = r"(?:\s?[-\u2013]\s?|\sto\s)"


def _write_iso_date(match: re.Match[str]) -> str:
    words = say_date(int(match[1]), int(match[2]), int(match[3]))
    if words is None:
        return match[0]
    return f"{words} at {say_clock(int(match[4]), int(match[5]))}" if match[4] else words


def _write_slash_date(match: re.Match[str]) -> str:
    first, second, year = int(match[1]), int(match[3]), int(match[4])
    if len(match[4]) == 2:  # noqa: PLR2004
        year += 2000 if year < 70 else 1900  # noqa: PLR2004
    is_day_first = match[2] == "." or first > 12  # noqa: PLR2004
    month, day = (second, first) if is_day_first else (first, second)
    return say_date(year, month, day) or match[0]


def _write_short_date(match: re.Match[str]) -> str:
    words = say_date(2000, int(match[2]), int(match[3]))
    return match[1] + words.partition(",")[0] if words else match[0]


def _write_month_day(match: re.Match[str]) -> str:
    month, day, last, year = match.groups()
    words = f"{_MONTHS[month.rstrip('.')]} {_say_day(day)}"
    words += f" to {_say_day(last)}" if last else ""
    return words + (f", {say_year(int(year))}" if year else "")


def _write_day_month(match: re.Match[str]) -> str:
    article, day, last, month, year = match.groups()
    days = _say_day(day) + (f" to {_say_day(last)}" if last else "")
    words = f"{article or 'the '}{days} of {_MONTHS[month.rstrip('.')]}"
    return words + (f", {say_year(int(year))}" if year else "")


def _say_day(day: str) -> str:
    return say_ordinal(int(day.rstrip("stndrh")))


def _write_time(match: re.Match[str]) -> str:
    hour, minute, second, half = match.groups()
    if int(hour) > 24:  # noqa: PLR2004
        return match[0]
    words = say_clock(int(hour), int(minute), half or "")
    if second and int(second):
        words += f" and {say_number(int(second))} {count_unit(str(int(second)), 'second')}"
    return words + _keep_period(match)


def _write_hour(match: re.Match[str]) -> str:
    return say_clock(int(match[1]), 0, match[2]) + _keep_period(match)


def _keep_period(match: re.Match[str]) -> str:
    """Return the period of "p.m." where it also ends the sentence."""
    rest = match.string[match.end() :].lstrip("\"')")
    is_end = not rest or (rest[0] == " " and rest[1:2].isupper())
    return "." if match[0].endswith(".") and is_end else ""


def _write_decade(match: re.Match[str]) -> str:
    figures = match[1]
    is_year = len(figures) == 4  # noqa: PLR2004
    words = say_year(int(figures)) if is_year else say_number(int(figures))
    return f"{words[:-1]}ies" if words.endswith("y") else f"{words}s"


DATE_RULES: tuple[Rule, ...] = (
    make_rule(rf"(?<=\d)\s?[-\u2013]\s?(?={_MONTH} \d)", " to "),
    make_rule(
        r"(?<!\w)'?((?:1\d|20)\d0|(?:(?<=')|(?<=the )|(?<=his )|(?<=her )|(?<=my )|(?<=your )"
        r"|(?<=their )|(?<=early )|(?<=late )|(?<=mid-))[2-9]0)'?s\b",
        _write_decade,
    ),
    make_rule(
        r"(?<![\w/-])(\d{4})[-/](\d\d?)[-/](\d\d?)"
        r"(?:[T ](\d\d):(\d\d)(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?(?![\w/-])",
        _write_iso_date,
    ),
    make_rule(r"(?<![\w/.])(\d{1,2})([/.-])(\d{1,2})\2(\d{4})(?![\w/])", _write_slash_date),
    make_rule(r"(?<![\w/.])(\d{1,2})(/)(\d{1,2})/(\d{2})(?![\w/])", _write_slash_date),
    make_rule(
        r"\b((?:on|by|until|since|due|dated) )(\d{1,2})/(\d{1,2})(?![\w/])", _write_short_date
    ),
    make_rule(
        rf"\b({_MONTH}) ({_DAY})(?:\s?[-\u2013]\s?(\d{{1,2}}))?(?:,? ({_YEAR}))?(?![\w:.,]*\d)",
        _write_month_day,
    ),
    make_rule(
        rf"(?<![\w:.,/])((?i:the) )?({_DAY})(?:\s?[-\u2013]\s?(\d{{1,2}}))? (?:of )?({_MONTH})"
        rf"(?:,? ({_YEAR}))?(?!\w)",
        _write_day_month,
    ),
    make_rule(
        rf"\b({_MONTH}),? ({_YEAR})\b",
        lambda match: f"{_MONTHS[match[1].rstrip('.')]} {say_year(int(match[2]))}",
    ),
)

TIME_RULES: tuple[Rule, ...] = (
    make_rule(r"(?:(?<=\d[ap]m)|(?<=\d[AP]M)|(?<=[ap]\.m\.))\s?[-\u2013]\s?(?=\d)", " to "),
    make_rule(rf"(?<=\d){_TO}(?=\d{{1,2}}(?::\d\d)?\s?{_HALF})", " to "),
    make_rule(r"(?<=:\d\d)\s?[-\u2013]\s?(?=\d{1,2}:\d\d)", " to "),
    make_rule(
        rf"(?<![\w:.,])(\d{{1,2}}):([0-5]\d)(?::([0-5]\d))?(?:\s?{_HALF})?(?![\w:])", _write_time
    ),
    make_rule(rf"{_START}(\d{{1,2}})\s?{_HALF}", _write_hour),
)
