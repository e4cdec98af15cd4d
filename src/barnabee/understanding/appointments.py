"""Appointments of calendars, and sentences about them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from barnabee.understanding.entity_lookup import capitalize, join_names

_SATURDAY = 5
_MAX_SPOKEN = 8


@dataclass(frozen=True, slots=True, order=True)
class Appointment:
    """One entry; a whole day has `is_all_day`. The times are in the time zone of the home."""

    start: datetime
    end: datetime
    summary: str
    is_all_day: bool = False


def parse_events(entries: Iterable[Mapping[str, Any]], now: datetime) -> list[Appointment]:
    """Return the events of Home Assistant's answer, earliest first."""
    return sorted(_parse_event(entry, now) for entry in entries)


def describe_day(events: Sequence[Appointment], day: date, today: date) -> str:
    """Return what is on this day in one sentence."""
    if not events:
        return f"Nothing is on the calendar {say_day(day, today)}."
    return f"{capitalize(say_day(day, today))}: {_join_events(events)}."


def describe_days(events: Sequence[Appointment], days: Sequence[date], today: date) -> str:
    """Return what is on these days, day by day; days without an entry are left out."""
    by_day = {day: [event for event in events if is_on(event, day)] for day in days}
    said = [describe_day(on_day, day, today) for day, on_day in by_day.items() if on_day]
    return " ".join(said) or f"Nothing is on the calendar {_say_span(days, today)}."


def say_day(day: date, today: date) -> str:
    """Return the day as it is spoken within a sentence."""
    ahead = (day - today).days
    near = {-1: "yesterday", 0: "today", 1: "tomorrow"}
    if ahead in near:
        return near[ahead]
    return f"on {day:%A}" if 0 < ahead < 7 else f"on {day:%A, %B} {day.day}"  # noqa: PLR2004 - a week


def say_time(moment: datetime) -> str:
    """Return the time of day like "half past seven" would be written: 7:30 PM."""
    minutes = f":{moment.minute:02}" if moment.minute else ""
    return f"{moment.hour % 12 or 12}{minutes} {'AM' if moment.hour < 12 else 'PM'}"  # noqa: PLR2004 - noon


def say_when(event: Appointment, now: datetime) -> str:
    when = say_day(event.start.date(), now.date())
    return when if event.is_all_day else f"{when} at {say_time(event.start)}"


def _join_events(events: Sequence[Appointment]) -> str:
    said = [
        event.summary if event.is_all_day else f"{event.summary} at {say_time(event.start)}"
        for event in events
    ]
    if len(said) > _MAX_SPOKEN:
        said = [*said[:_MAX_SPOKEN], f"{len(said) - _MAX_SPOKEN} more"]
    return join_names(said)


def _parse_event(entry: Mapping[str, Any], now: datetime) -> Appointment:
    start, end = str(entry["start"]), str(entry["end"])
    is_all_day = "T" not in start and " " not in start
    return Appointment(
        _parse_moment(start, now), _parse_moment(end, now), str(entry["summary"]), is_all_day
    )


def _parse_moment(text: str, now: datetime) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        return moment.replace(tzinfo=now.tzinfo)
    return moment.astimezone(now.tzinfo)


def is_on(event: Appointment, day: date) -> bool:
    last = event.end - timedelta(microseconds=1) if event.end > event.start else event.end
    return event.start.date() <= day <= last.date()


def _say_span(days: Sequence[date], today: date) -> str:
    if len(days) == 1:
        return say_day(days[0], today)
    return "this weekend" if days[0].weekday() >= _SATURDAY else "in that time"
