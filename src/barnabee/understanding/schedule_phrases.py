"""What the assistant says of timers, alarms and reminders. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta

from barnabee.understanding.entity_lookup import join_names
from barnabee.understanding.interfaces import ScheduleEntry

_UNITS = (("day", 86_400), ("hour", 3600), ("minute", 60), ("second", 1))
# A label that begins so is no task: "remind me that the parcel arrives".
_NOUN = re.compile(r"(?:the|a|an|my|our|his|her|their|your|this|that|it|there)\b", re.IGNORECASE)
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_WORKING_DAYS = frozenset(range(5))
_NOON, _WEEK_DAYS = 12, 7
_LISTED_MAX = 3
# "Remind me to call my mother" is spoken as "call your mother".
_TURNED = {"my": "your", "me": "you", "i": "you", "mine": "yours", "myself": "yourself"}
_TURNED |= {"i'm": "you're", "i've": "you've", "i'll": "you'll", "our": "your", "us": "you"}
_TURNED_WORD = re.compile(rf"\b(?:{'|'.join(_TURNED)})\b", re.IGNORECASE)


def say_duration(duration: timedelta, *, parts: int = 2) -> str:
    """Return "1 hour and 30 minutes": the largest `parts` units, rounded up to the smallest."""
    seconds = max(1, -(-duration // timedelta(seconds=1)))
    for index, (_, size) in enumerate(_UNITS):
        if seconds >= size:
            smallest = _UNITS[min(index + parts, len(_UNITS)) - 1][1]
            seconds = -(-seconds // smallest) * smallest
            break
    said = []
    for name, size in _UNITS:
        count, seconds = divmod(seconds, size)
        if count:
            said.append(f"{count} {name}{'' if count == 1 else 's'}")
    return join_names(said)


def say_time(moment: datetime) -> str:
    """Return "7 AM", "7:05 PM", "noon" or "midnight"."""
    if moment.hour % _NOON == 0 and moment.minute == 0:
        return "noon" if moment.hour else "midnight"
    minutes = f":{moment.minute:02}" if moment.minute else ""
    return f"{(moment.hour - 1) % _NOON + 1}{minutes} {'AM' if moment.hour < _NOON else 'PM'}"


def say_when(moment: datetime, now: datetime) -> str:
    """Return "at 7 AM", "tomorrow at 7 AM", "on Friday at noon" or "on May 5 at 7 AM"."""
    local = moment.astimezone(now.tzinfo)
    days = (local.date() - now.date()).days
    clock = f"at {say_time(local)}"
    if days == 0:
        return clock
    if days in {-1, 1}:
        return f"{'tomorrow' if days == 1 else 'yesterday'} {clock}"
    if 1 < days < _WEEK_DAYS:
        return f"on {_WEEKDAYS[local.weekday()]} {clock}"
    return f"on {local:%B} {local.day} {clock}"


def say_weekdays(weekdays: frozenset[int]) -> str:
    """Return "every day", "on weekdays", "every Monday and Friday"."""
    if len(weekdays) == _WEEK_DAYS:
        return "every day"
    if weekdays == _WORKING_DAYS:
        return "on weekdays"
    if weekdays == frozenset(range(_WEEK_DAYS)) - _WORKING_DAYS:
        return "on weekends"
    return f"every {join_names([_WEEKDAYS[day] for day in sorted(weekdays)])}"


def name_duration(duration: timedelta) -> str:
    """Return the name of a timer without one: "10 minute"."""
    return re.sub(r"(?<=[a-z])s\b| and(?= )", "", say_duration(duration, parts=len(_UNITS)))


def name_entry(entry: ScheduleEntry) -> str:
    """Return "pasta timer", "timer", "school alarm", "reminder to call Grandma"."""
    if entry.kind == "reminder":
        link = "about" if is_statement(entry.label) else "to"
        person = f" for {entry.speaker}" if entry.speaker else ""
        return f"reminder{person} {link} {turn_around(entry.label)}"
    label = re.sub(rf"\b{entry.kind}\b", "", entry.label).strip()
    return f"{label} {entry.kind}" if label else entry.kind


def is_statement(label: str) -> bool:
    """Return whether a reminder is of something that is so, rather than something to do."""
    return _NOUN.match(label) is not None


def add_article(name: str) -> str:
    """Return "an egg timer", "a tea timer"."""
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


def turn_around(text: str) -> str:
    """Return what a user asked to be reminded of as it is said to them."""
    return _TURNED_WORD.sub(lambda match: _TURNED[match[0].lower()], text)


def say_ring(entry: ScheduleEntry, *, was_late: bool = False) -> str:
    """Return what is said when `entry` rings."""
    clock = say_time(entry.due)
    match entry.kind:
        case "timer":
            text = f"Your {name_entry(entry)} is done."
            late = f"your {name_entry(entry)} ended at {clock}."
        case "alarm":
            text = f"It's {clock}. This is your {name_entry(entry)}."
            late = f"your {name_entry(entry)} for {clock} was due."
        case _:
            person = f" for {entry.speaker}" if entry.speaker else ""
            text = f"A reminder{person}: {turn_around(entry.label)}."
            late = f"at {clock}, there was a reminder{person}: {turn_around(entry.label)}."
    return f"While I was away, {late}" if was_late else text


def say_missed(entries: Sequence[ScheduleEntry]) -> str:
    """Return the sentence about entries that were missed; "" without any."""
    if not entries:
        return ""
    missed = []
    for entry in entries[:_LISTED_MAX]:
        is_reminder = entry.kind == "reminder"
        what = f"the {name_entry(entry)}" if is_reminder else f"your {name_entry(entry)}"
        missed.append(f"{what} at {say_time(entry.due)}")
    if len(entries) > _LISTED_MAX:
        missed.append(f"{len(entries) - _LISTED_MAX} more")
    return f"By the way, you missed {join_names(missed)}."
