"""Calendar: what is on, the next appointment, and new appointments."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta

from barnabee.core.errors import HomeRefused
from barnabee.understanding.appointments import (
    Appointment,
    describe_days,
    is_on,
    parse_events,
    say_day,
    say_time,
    say_when,
)
from barnabee.understanding.entity_lookup import (
    NOT_CONNECTED,
    capitalize,
    list_entities,
)
from barnabee.understanding.interfaces import Entity, HomeControl
from barnabee.understanding.skill import (
    Skill,
    SkillCall,
    SkillContext,
    SkillIntent,
    SkillReply,
    Slot,
)
from barnabee.understanding.words import fold_name

NO_CALENDAR = (
    "I don't know your appointments. Add a calendar in Home Assistant and expose it to Assist."
)
CANNOT_REMOVE = "I can't change or remove appointments. Do that in the calendar itself."
_SATURDAY = 5
_AHEAD = timedelta(days=60)
_DURATION = timedelta(hours=1)
_EARLIEST_HOUR = 7
_EVENT_WORDS = re.compile(r"^(?:the|my|our|next)\s+|\s+(?:appointment|again|on)$", re.IGNORECASE)


async def handle(call: SkillCall, context: SkillContext) -> SkillReply | None:
    is_certain = call.intent != "calendar_find"
    if call.intent == "calendar_remove":
        return SkillReply(CANNOT_REMOVE, code="not_possible")
    if context.home is None:
        return NOT_CONNECTED if is_certain else None
    known = list_entities(await context.home.read_home(), "calendar")
    calendars = [one for one in known if one.is_available]
    if not calendars:
        text = "The calendar in Home Assistant is not available." if known else NO_CALENDAR
        return SkillReply(text, code="no_valid_targets") if is_certain else None
    return await _handle(call, calendars, context, context.home)


async def _handle(
    call: SkillCall, calendars: Sequence[Entity], context: SkillContext, home: HomeControl
) -> SkillReply | None:
    if call.intent == "calendar_add":
        return await _add(call, calendars[0], context, home)
    if call.intent not in {"calendar_next", "calendar_find"}:
        return await _tell_days(call, calendars, context, home)
    events = await _read(calendars, context, home, context.now, _AHEAD)
    if call.intent == "calendar_next":
        return SkillReply(_tell_next(events, context.now))
    return _find(events, str(call.slots["event"]), context.now)


async def _tell_days(
    call: SkillCall, calendars: Sequence[Entity], context: SkillContext, home: HomeControl
) -> SkillReply:
    today = context.now.date()
    days = find_days(call.text, call.slots.get("day"), today)
    start = datetime.combine(days[0], time(), context.now.tzinfo)
    events = await _read(calendars, context, home, start, timedelta(days=len(days)))
    asked = [event for event in events if any(is_on(event, day) for day in days)]
    coming = [event for event in asked if event.end > context.now or days[0] < today]
    opening = {"calendar_free": ("Yes. ", "No. "), "calendar_any": ("No. ", "Yes. ")}
    answer = opening.get(call.intent, ("", ""))[bool(coming)]
    return SkillReply(answer + describe_days(coming, days, today))


async def _read(
    calendars: Sequence[Entity],
    context: SkillContext,
    home: HomeControl,
    start: datetime,
    span: timedelta,
) -> list[Appointment]:
    end = datetime.combine((start + span).date(), time(), start.tzinfo)
    ids = [one.entity_id for one in calendars]
    data = {"start_date_time": start.isoformat(), "end_date_time": max(end, start).isoformat()}
    found = await home.call_service("calendar.get_events", ids, data, has_response=True)
    entries = [entry for one in found.values() for entry in one.get("events", ())]
    return parse_events(entries, context.now)


async def _add(
    call: SkillCall, calendar: Entity, context: SkillContext, home: HomeControl
) -> SkillReply:
    start = _assume_waking_hours(call.slots["at"], call.text)
    summary = capitalize(_EVENT_WORDS.sub("", str(call.slots["event"])))
    data = {
        "summary": summary,
        "start_date_time": start.isoformat(),
        "end_date_time": (start + _DURATION).isoformat(),
    }
    try:
        await home.call_service("calendar.create_event", [calendar.entity_id], data)
    except HomeRefused as error:
        reason = error.fields.get("reason", "Home Assistant refused")
        return SkillReply(f"I could not add it to the calendar: {reason}.", code=error.code)
    when = f"{say_day(start.date(), context.now.date())} at {say_time(start)}"
    action = {"type": "calendar", "name": summary, "id": calendar.entity_id}
    return SkillReply(f"I added {summary} {when}.", acted=True, actions=(action,))


def _assume_waking_hours(moment: datetime, text: str) -> datetime:
    """Return five in the afternoon for "at five": appointments at night are said with "am"."""
    is_said = re.search(r"\d ?[ap]\.?m\b|morning|night|midnight|\b0\d", text.lower())
    is_early = 0 < moment.hour < _EARLIEST_HOUR
    return moment + timedelta(hours=12) if is_early and not is_said else moment


def find_days(text: str, day: date | None, today: date) -> list[date]:
    """Return the days that the sentence asks about."""
    if "weekend" in text.lower():
        first = day or today + timedelta(days=max(_SATURDAY - today.weekday(), 0))
        days = [first, first + timedelta(days=1)]
        return [one for one in days if one.weekday() >= _SATURDAY] or [first]
    if day is None and re.search(r"\bnext week\b", text.lower()):
        monday = today + timedelta(days=7 - today.weekday())
        return [monday + timedelta(days=ahead) for ahead in range(7)]
    if day is None and re.search(r"\bweek\b", text.lower()):
        return [today + timedelta(days=ahead) for ahead in range(7 - today.weekday())]
    return [day or today]


def _find(events: Sequence[Appointment], wanted: str, now: datetime) -> SkillReply | None:
    """Return when the named event is; None without one: the sentence may ask something else."""
    name = fold_name(_EVENT_WORDS.sub("", wanted))
    pattern = re.compile(rf"\b{re.escape(name)}\b") if name else None
    found = [event for event in events if pattern and pattern.search(fold_name(event.summary))]
    if not found:
        return None
    return SkillReply(f"{found[0].summary} is {say_when(found[0], now)}.")


def _tell_next(events: Sequence[Appointment], now: datetime) -> str:
    coming = [event for event in events if event.start > now and not event.is_all_day]
    coming = coming or [event for event in events if event.end > now]
    if not coming:
        return "Nothing is on the calendar in the next two months."
    return f"Next is {coming[0].summary}, {say_when(coming[0], now)}."


_DAY = {"day": Slot("date", "The day, for example: tomorrow", is_required=False)}
_THE = "(the|my|our|the family|mum's|dad's|mom's)"
_ON = "[on|for] {day}"
_SPAN = "(this week|next week|the rest of the week|the week)"
_CALENDAR = "(calendar|agenda|schedule)"
_PART = "[in the] (morning|afternoon|evening)"

SKILL = Skill(
    name="calendar",
    intents=(
        SkillIntent(
            "calendar_read",
            "tell you what is on the calendar",
            (
                f"(what's|what do i have|what do we have) [planned] on {_THE} {_CALENDAR} [{_ON}]",
                f"(what's|what do i have|what do we have) on {_THE} {_CALENDAR} {_SPAN}",
                f"[read|read me|check|show] [the|my|our] {_CALENDAR} [{_ON}|for {_SPAN}]",
                f"(what's on|what's happening|what's planned|what's going on) {_ON}",
                f"(what's on|what's happening|what's planned|what's going on) {_SPAN}",
                f"(what do i have|what do we have|what have i got|what have we got) [on] {_ON}",
                f"(what do i have|what do we have|what have we got) [on] {_SPAN}",
                f"(what are we doing|what am i doing|what are the plans|what's the plan) {_ON}",
                f"(what does|how does) (my|our) (day|week|weekend) look [like] [{_ON}]",
                f"(what appointments|what events) (do i have|do we have|are there) [{_ON}]",
                f"(what appointments|what events) (do i have|do we have|are there) {_SPAN}",
            ),
            _DAY,
        ),
        SkillIntent(
            "calendar_free",
            "tell you whether you are free",
            (f"(am i|are we) free {_ON} [{_PART}]", f"(am i|are we) free {_SPAN}"),
            _DAY,
        ),
        SkillIntent(
            "calendar_any",
            "tell you whether something is on the calendar",
            (
                f"(do i|do we|does anyone) have (anything|something|plans) [on|planned] {_ON}",
                f"(do i|do we) have [any] (appointments|plans|events) {_ON}",
                f"(do i|do we) have [any] (appointments|plans|events) {_SPAN}",
                f"(am i|are we) busy {_ON} [{_PART}]",
                f"is (there|anything) [anything] on {_THE} {_CALENDAR} [{_ON}]",
            ),
            _DAY,
        ),
        SkillIntent(
            "calendar_next",
            "tell you the next appointment",
            (
                "(what's|when's) (my|our|the) next (appointment|event|meeting)",
                f"what's next [on {_THE} {_CALENDAR}]",
                f"what's (coming up|up next) [on {_THE} {_CALENDAR}]",
            ),
        ),
        SkillIntent(
            "calendar_find",
            "tell you when something on the calendar is",
            (
                "(when's|what time is|what day is) {event}",
                "(when|what time) do (i|we) have {event}",
            ),
            {"event": Slot(description="The appointment, for example: swimming lesson")},
        ),
        SkillIntent(
            "calendar_add",
            "add an appointment",
            (
                f"(add|put) {{event}} (to|on|in|into) {_THE} {_CALENDAR} [on|at|for] {{at}}",
                f"(add|put) {{event}} {{at}} (to|on|in|into) {_THE} {_CALENDAR}",
                "create an (event|appointment) {at} (called|for) {event}",
                "(schedule|make an appointment for|add an appointment for) {event} [on|for] {at}",
            ),
            {
                "event": Slot(description="The appointment, for example: dentist"),
                "at": Slot("moment", "When it begins, for example: tomorrow at 3 pm"),
            },
        ),
        SkillIntent(
            "calendar_remove",
            "remove an appointment",
            (
                "(cancel|delete|remove|move) [the|my|our] [{event}] (appointment|event|meeting)",
                f"(delete|remove) {{event}} from {_THE} {_CALENDAR}",
            ),
            {"event": Slot(description="The appointment", is_required=False)},
        ),
    ),
    handle=handle,
)
