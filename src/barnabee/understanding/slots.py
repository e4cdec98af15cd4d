"""Values of slots in sentences: durations, times, days, moments and sets of weekdays.

Pure: `now` is aware and in the time zone of the home. None means that the text is no such value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, time, timedelta
from fractions import Fraction
from typing import Any

from barnabee.understanding.skill import SlotKind
from barnabee.understanding.spoken_dates import DATE_WORDS, WEEKDAYS, parse_date
from barnabee.understanding.spoken_numbers import (
    NUMBER_WORDS,
    parse_number,
    split_spoken_words,
)
from barnabee.understanding.spoken_times import TIME_WORDS, SpokenTime, parse_time

MAX_VALUE_WORDS = 16
MAX_DURATION = timedelta(days=3660)
_UNIT_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400, "week": 604800}
_SHORT_UNITS = {"sec": "second", "min": "minute", "hr": "hour"}
_SHORT_UNITS |= {"s": "second", "m": "minute", "h": "hour", "d": "day", "fortnight": "fortnight"}
_SECONDS = {f"{name}{s}": size for name, size in _UNIT_SECONDS.items() for s in ("", "s")}
_SECONDS |= {
    f"{short}{s}": _UNIT_SECONDS[name]
    for short, name in _SHORT_UNITS.items()
    if name in _UNIT_SECONDS
    for s in ("", "s")
}
_SECONDS |= {"fortnight": 1209600, "fortnights": 1209600}
_PIECE = re.compile(
    rf"(?:and )?(?P<count>[\w./ ]+?) (?P<unit>{'|'.join(sorted(_SECONDS, key=len, reverse=True))})"
    r"(?: and an? (?P<part>half|quarter))?(?: |$)"
)
_ISO_DURATION = re.compile(r"pt(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")
_PARTS = {"half": Fraction(1, 2), "quarter": Fraction(1, 4)}
_COUNTS = {
    "a": Fraction(1),
    "an": Fraction(1),
    "another": Fraction(1),
    "couple of": Fraction(2),
    "couple": Fraction(2),
}

# What a part of the day means where no hour is said.
_PART_HOURS = {"morning": 8, "afternoon": 15, "evening": 19, "night": 20}
_DEFAULT_HOUR = 9
_EARLY_HOURS = 5  # "tonight at two" is tomorrow by the calendar
_DAY_PART = re.compile(
    r"(?<!\w)(?:(?P<today>this |later this )|in the |at |(?:the )?(?=night))?"
    r"(?P<part>morning|afternoon|evening|night)(?!\w)|(?P<tonight>tonight)(?!\w)"
)
_LATER = re.compile(r"(?:in )?(?P<in>.+?)(?: from now| later)?")

_WEEKDAY_SETS = {
    **dict.fromkeys(
        ("day", "days", "daily", "single day", "morning", "evening", "night"), "0123456"
    ),
    **dict.fromkeys(("weekday", "weekdays", "working day", "workday", "school day"), "01234"),
    **dict.fromkeys(("weekend", "weekends"), "56"),
}
_WEEKDAY_RANGE = re.compile(r"(\w+) (?:to|through|till|until) (\w+)")
_WEEKDAY_LEADING = re.compile(r"^(?:(?:on|at|for|from|the|all|every|each) )+")


def parse_slot(kind: SlotKind, text: str, now: datetime, *, has_day: bool = False) -> Any:
    """Return the value of `text` as a slot of `kind`, None if it is none.

    `has_day`: the sentence names the day elsewhere, so "at seven" is not the next seven o'clock.
    """
    if kind != "text" and len(text.split()) > MAX_VALUE_WORDS:
        return None
    if kind == "time":
        return parse_time_of_day(text, now, has_day=has_day)
    return _PARSERS[kind](text, now)


def parse_duration(text: str) -> timedelta | None:
    """Parse "an hour and a half", "90 seconds", "two hours 15", "half an hour", "PT5M"."""
    words = " ".join(split_spoken_words(text))
    if (iso := _ISO_DURATION.fullmatch(text.strip().lower())) and any(iso.groups()):
        hours, minutes, seconds = (int(part or 0) for part in iso.groups())
        return _make_duration(Fraction(hours * 3600 + minutes * 60 + seconds))
    total, position, last_size = Fraction(0), 0, 0
    while match := _PIECE.match(words, position):
        count, size = _parse_count(match["count"]), _SECONDS[match["unit"]]
        if count is None or (last_size and size >= last_size):
            return None
        total += (count + _PARTS.get(match["part"], Fraction(0))) * size
        position, last_size = match.end(), size
    rest = parse_number(words[position:].removeprefix("and ")) if last_size else None
    if rest is not None and last_size == _UNIT_SECONDS["week"]:
        return None
    if rest is not None:
        smaller = {3600: 60, 60: 1, 86400: 3600, 1209600: 86400}.get(last_size, 0)
        total, position = total + Fraction(rest).limit_denominator() * smaller, len(words)
    return _make_duration(total) if position >= len(words) else None


def _make_duration(seconds: Fraction) -> timedelta | None:
    is_usable = 0 < seconds <= MAX_DURATION.total_seconds()
    return timedelta(seconds=float(seconds)) if is_usable else None


def _parse_count(text: str) -> Fraction | None:
    """Parse the number before a unit: "half an", "a quarter of an", "one and a half"."""
    text = re.sub(r"^(?:another|about|exactly) ", "", text)
    text = re.sub(r"^a couple", "couple", text)
    if text in _COUNTS:
        return _COUNTS[text]
    number = parse_number(re.sub(r"(?: of)?(?: an?)?$", "", text))
    return None if number is None or number < 0 else Fraction(number).limit_denominator(1000)


def parse_time_of_day(text: str, now: datetime, *, has_day: bool = False) -> time | None:
    """Parse a time of day; without am or pm it is the next such time after `now`."""
    spoken = parse_time(text)
    if spoken is None:
        return None
    return spoken.on_some_day() if has_day else spoken.next_after(now)


def parse_moment(text: str, now: datetime) -> datetime | None:
    """Parse "tomorrow at eight", "in half an hour", "Friday evening", "noon", ISO 8601.

    A day alone is its morning at nine.
    """
    words = " ".join(split_spoken_words(text))
    later = _LATER.fullmatch(words)
    if later and (duration := parse_duration(later["in"])) and later["in"] != words:
        return (now.astimezone(UTC) + duration).astimezone(now.tzinfo)
    try:
        moment = datetime.fromisoformat(text.strip()) if "t" in text.lower() else None
    except ValueError:
        moment = None
    if moment is None:
        return _parse_day_and_time(words, now)
    return moment.replace(tzinfo=moment.tzinfo or now.tzinfo).astimezone(now.tzinfo)


def _parse_day_and_time(words: str, now: datetime) -> datetime | None:
    if (alone := parse_time(words)) is not None and not _DAY_PART.search(words):
        return _combine_next(alone, now)
    part = _DAY_PART.search(words)
    rest = re.sub(r"\s+", " ", _DAY_PART.sub("", words, count=1)).strip() if part else words
    part_name = (part["part"] or "night") if part else ""
    is_today = bool(part and (part["tonight"] or part["today"]))
    for day_text, time_text in _split_day_and_time(rest):
        day = parse_date(day_text, now.date()) if day_text else None
        spoken = parse_time(time_text) if time_text else None
        if (day_text and day is None) or (time_text and spoken is None):
            continue
        if day is None and part and not is_today and not time_text:
            continue
        return _combine(day or now.date(), spoken, part_name, now, is_dated=bool(day or is_today))
    return None


def _split_day_and_time(text: str) -> list[tuple[str, str]]:
    words = text.split()
    cuts = [(" ".join(words[:cut]), " ".join(words[cut:])) for cut in range(len(words) + 1)]
    return [*reversed(cuts), *((after, before) for before, after in cuts)]


def _combine(
    day: Any, spoken: SpokenTime | None, part: str, now: datetime, *, is_dated: bool
) -> datetime:
    if spoken is None:
        hour = _PART_HOURS.get(part, _DEFAULT_HOUR)
        return datetime.combine(day, time(hour), now.tzinfo)
    if not is_dated:
        return _combine_next(spoken.in_part(part), now)
    is_midnight = not spoken.is_ambiguous and spoken.as_time() == time(0)
    if spoken.is_ambiguous and part:
        clock = spoken.in_part(part).as_time()
    elif spoken.is_ambiguous and day == now.date():
        clock = spoken.next_after(now)
    else:
        clock = spoken.on_some_day()
    is_past_midnight = is_midnight or (part == "night" and clock.hour < _EARLY_HOURS)
    return datetime.combine(day + timedelta(int(is_past_midnight)), clock, now.tzinfo)


def _combine_next(spoken: SpokenTime, now: datetime) -> datetime:
    clock = spoken.next_after(now)
    is_tomorrow = clock <= now.time()
    return datetime.combine(now.date() + timedelta(int(is_tomorrow)), clock, now.tzinfo)


def parse_weekdays(text: str) -> frozenset[int] | None:
    """Parse "weekdays", "every Monday and Friday", "Monday to Friday"; 0 is Monday."""
    words = _WEEKDAY_LEADING.sub("", " ".join(split_spoken_words(text)))
    if words in _WEEKDAY_SETS:
        return frozenset(map(int, _WEEKDAY_SETS[words]))
    if match := _WEEKDAY_RANGE.fullmatch(words):
        first, last = _find_weekday(match[1]), _find_weekday(match[2])
        if first is None or last is None:
            return None
        return frozenset((first + step) % 7 for step in range((last - first) % 7 + 1))
    names = [name for name in re.split(r" and (?:every |on )?| |,", words) if name]
    days = [_find_weekday(name) for name in names]
    return frozenset(day for day in days if day is not None) if days and None not in days else None


def _find_weekday(name: str) -> int | None:
    return WEEKDAYS.get(name.removesuffix("s")) if len(name) > 1 else None


_PARSERS: Mapping[SlotKind, Callable[[str, datetime], Any]] = {
    "text": lambda text, _: text or None,
    "number": lambda text, _: parse_number(text),
    "duration": lambda text, _: parse_duration(text),
    "date": lambda text, now: parse_date(text, now.date()),
    "moment": parse_moment,
    "weekdays": lambda text, _: parse_weekdays(text),
}
_DURATION_WORDS = NUMBER_WORDS | set(_SECONDS) | {"another", "about", "exactly"}
_WEEKDAY_WORDS = set(WEEKDAYS) | {f"{name}s" for name in WEEKDAYS}
_WEEKDAY_WORDS |= {word for name in _WEEKDAY_SETS for word in name.split()}
_WEEKDAY_WORDS |= {"every", "each", "on", "and", "to", "through", "until", "till", "from", "the"}
_WEEKDAY_WORDS |= {"all", "at", "for"}
# The words of which a value can consist, besides figures; no entry: any words.
SLOT_WORDS: Mapping[SlotKind, frozenset[str]] = {
    "number": NUMBER_WORDS,
    "duration": frozenset(_DURATION_WORDS),
    "time": frozenset(TIME_WORDS),
    "date": frozenset(DATE_WORDS),
    "moment": frozenset(DATE_WORDS | TIME_WORDS | _DURATION_WORDS | {"later"}),
    "weekdays": frozenset(_WEEKDAY_WORDS),
}
