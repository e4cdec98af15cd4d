"""Times of day as people say and write them: "half past seven", "7.30 pm", "noon"."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import datetime, time
from functools import lru_cache

from barnabee.understanding.spoken_numbers import NUMBER_WORDS, replace_number_words

_NOON, _DAY_HOURS, _HOUR_MINUTES = 12, 24, 60
_EARLIEST_MORNING = 5  # with a day, "at five" is in the morning and "at four" in the afternoon
_LATEST_NIGHT = 4  # "two at night" is before dawn, "nine at night" is not
_PREPOSITION = r"(?:(?:at|by|from|until|till|around|about|for) )*(?:exactly )?"
_PART = (
    r"(?: (?:(?P<half>am|pm)|(?:in the |this )?(?P<part>morning|afternoon|evening)"
    r"|(?P<night>at night|tonight)))?"
)
_CLOCK = re.compile(
    _PREPOSITION + r"(?P<hour>\d{1,2})(?:(?:[:.]| )(?P<minute>\d{2}|oh \d)(?:[:.]00)?)?"
    r"(?: (?:o'?clock|o clock|hours|h|sharp))*" + _PART
)
_MILITARY = re.compile(_PREPOSITION + r"(?P<hour>\d{2})(?P<minute>\d{2})(?: hours)?" + _PART)
_RELATIVE = re.compile(
    _PREPOSITION + r"(?P<minute>\d{1,2}|(?:a )?quarter|half)(?: minutes?)? "
    r"(?P<side>past|after|to|before|till|til|of) (?P<hour>\d{1,2}|noon|midnight)"
    r"(?: o'?clock)?" + _PART
)
_HALF_HOUR = re.compile(_PREPOSITION + r"half (?P<hour>\d{1,2})" + _PART)  # British: 7.30
_NAMED = {
    **dict.fromkeys(("noon", "midday", "12 noon", "12 midday"), _NOON),
    **dict.fromkeys(("midnight", "12 midnight"), 0),
}
_MINUTES = {"quarter": 15, "a quarter": 15, "half": 30}
TIME_WORDS = NUMBER_WORDS | {
    *("at", "by", "from", "until", "till", "around", "about", "for", "exactly", "oh", "past"),
    *("after", "to", "before", "til", "o'clock", "oclock", "clock", "o", "hours", "sharp", "am"),
    *("pm", "in", "the", "this", "morning", "afternoon", "evening", "night", "tonight", "noon"),
    *("midday", "midnight", "minute", "minutes", "a.m", "p.m", "a.m.", "p.m.", "m", "p"),
}


@dataclass(frozen=True, slots=True)
class SpokenTime:
    """A time of day; `hour` is 1 to 12 while it is unknown which half of the day is meant."""

    hour: int
    minute: int = 0
    is_ambiguous: bool = False

    def in_part(self, part: str) -> SpokenTime:
        """Return the time in `part`: am, pm, morning, afternoon, evening or night."""
        if not self.is_ambiguous:
            return self
        early = self.hour % _NOON
        is_night = part in {"night", "at night", "tonight"}
        before_noon = part in {"am", "morning"} or (is_night and early <= _LATEST_NIGHT)
        return replace(self, hour=early if before_noon else early + _NOON, is_ambiguous=False)

    def on_some_day(self) -> time:
        """Return the time of a day that is not today: five to eleven are in the morning."""
        is_morning = _EARLIEST_MORNING <= self.hour < _NOON
        return self.in_part("morning" if is_morning else "afternoon").as_time()

    def next_after(self, now: datetime) -> time:
        """Return the time of day that comes first after `now`."""
        choices = [self.in_part("am").as_time(), self.in_part("pm").as_time()]
        later = [choice for choice in choices if choice > now.time()]
        return min(later or choices)

    def as_time(self) -> time:
        return time(self.hour, self.minute)


@lru_cache(maxsize=1024)  # the matcher tries the same words in many templates
def parse_time(text: str) -> SpokenTime | None:
    """Return the time of day that all of `text` says, None if it says none."""
    figures = replace_number_words(text)
    named = _NAMED.get(re.sub(rf"^{_PREPOSITION}", "", figures))
    if named is not None:
        return SpokenTime(named)
    for pattern in (_RELATIVE, _CLOCK, _MILITARY, _HALF_HOUR):
        if match := pattern.fullmatch(figures):
            return _read_match(match)
    return None


def _read_match(match: re.Match[str]) -> SpokenTime | None:
    groups = match.groupdict()
    hour = _NAMED[groups["hour"]] if groups["hour"] in _NAMED else int(groups["hour"])
    said = groups.get("minute", "half") or "0"
    minute = _MINUTES[said] if said in _MINUTES else int(said.removeprefix("oh "))
    if minute >= _HOUR_MINUTES or hour > _DAY_HOURS or (hour == _DAY_HOURS and minute):
        return None
    is_ambiguous = 1 <= hour <= _NOON and not groups["hour"].startswith("0")
    is_ambiguous = is_ambiguous and groups["hour"] not in _NAMED
    if groups.get("side") in {"to", "before", "till", "til", "of"} and minute:
        hour, minute = hour - 1, _HOUR_MINUTES - minute
        hour = (hour or _NOON) if is_ambiguous else hour
    spoken = SpokenTime(hour % _DAY_HOURS, minute, is_ambiguous)
    part = groups["half"] or groups["part"] or groups["night"]
    return spoken.in_part(part) if part else spoken
