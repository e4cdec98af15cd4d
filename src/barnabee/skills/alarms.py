"""Alarms: once or on weekdays."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, time, timedelta

from barnabee.skills.ringing import (
    NOT_CONFIGURED,
    find_by_label,
    list_kept,
    names_all,
    stop,
    tell_entry,
)
from barnabee.understanding.entity_lookup import join_names
from barnabee.understanding.interfaces import Schedule, ScheduleEntry
from barnabee.understanding.schedule_phrases import (
    add_article,
    name_entry,
    say_time,
    say_weekdays,
    say_when,
)
from barnabee.understanding.skill import (
    Question,
    Skill,
    SkillCall,
    SkillContext,
    SkillIntent,
    SkillReply,
    Slot,
)
from barnabee.understanding.slots import parse_moment

NO_ALARM = "There is no alarm set."
REPEATED = re.compile(
    r"\b(?:every|each|daily|weekdays?|weekends?|(?:mon|tues|wednes|thurs|fri|satur|sun)days)\b",
    re.IGNORECASE,
)
_BEFORE_TIME = re.compile(r"^(?:(?:the|that) )?(?:(?:one|alarm) )?(?:(?:at|for) )?")
_CANCELLED = re.compile(r"(?:never ?mind|cancel|forget it|no|stop|nothing)", re.IGNORECASE)


async def handle(call: SkillCall, context: SkillContext) -> SkillReply | None:
    schedule = context.schedule
    if schedule is None:
        return NOT_CONFIGURED
    match call.intent:
        case "alarm_set":
            return await _set(call.slots.get("when"), call.slots.get("label"), context)
        case "alarm_repeat":
            return await _repeat(call, context)
        case "alarm_list":
            return _tell(list_kept(await schedule.entries(), "alarm"), context.now)
        case _:
            return await _cancel(call, schedule, context)


async def answer(question: Question, text: str, context: SkillContext) -> SkillReply | None:
    """Set the alarm for the time that was asked for, or cancel the one that was named."""
    if context.schedule is None:
        return None
    if _CANCELLED.fullmatch(text.strip(" .!")):
        return SkillReply("Okay.")
    said = text.strip(" .!?").lower()
    when = parse_moment(_BEFORE_TIME.sub("", said), context.now)
    if question.data["intent"] == "alarm_set":
        return await _set(when, question.data.get("label"), context) if when else None
    alarms = list_kept(await context.schedule.entries(), "alarm")
    found = alarms if names_all(text) else _choose(alarms, text, when)
    return await _remove(found, context.schedule) if found else None


def find_next(clock: time, weekdays: frozenset[int], now: datetime) -> datetime:
    """Return the next moment after `now` at a time of one of the weekdays. Pure."""
    for days in range(8):
        moment = datetime.combine(now.date() + timedelta(days), clock, now.tzinfo)
        if moment > now and moment.weekday() in weekdays:
            return moment
    raise ValueError("there is no weekday")


async def _set(when: datetime | None, label: str | None, context: SkillContext) -> SkillReply:
    if context.schedule is None:
        return NOT_CONFIGURED
    if when is None or when <= context.now:
        data = {"intent": "alarm_set", **({"label": label} if label else {})}
        return SkillReply("For when?", question=Question(SKILL.name, data))
    alarm = _make_alarm(when, label, context)
    await context.schedule.save(alarm)
    return _acted(
        f"I set {add_article(name_entry(alarm))} for {_say_when(when, context.now)}.", alarm
    )


async def _repeat(call: SkillCall, context: SkillContext) -> SkillReply | None:
    if context.schedule is None or not REPEATED.search(call.text):
        return None
    clock, weekdays = call.slots["time"], call.slots["days"]
    when = find_next(clock, weekdays, context.now)
    alarm = replace(_make_alarm(when, call.slots.get("label"), context), weekdays=weekdays)
    await context.schedule.save(alarm)
    days = say_weekdays(weekdays)
    text = f"I set {add_article(name_entry(alarm))} for {say_time(when)} {days}."
    return _acted(text, alarm)


def _make_alarm(when: datetime, label: str | None, context: SkillContext) -> ScheduleEntry:
    return ScheduleEntry(secrets.token_hex(8), "alarm", when, label=label or "", room=context.room)


def _say_when(when: datetime, now: datetime) -> str:
    return say_when(when, now).removeprefix("at ")


def _tell(alarms: Sequence[ScheduleEntry], now: datetime) -> SkillReply:
    if not alarms:
        return SkillReply(NO_ALARM)
    listed = [
        f"{name_entry(alarm)} at {say_time(alarm.due)} {say_weekdays(alarm.weekdays)}"
        if alarm.weekdays
        else tell_entry(alarm, now)
        for alarm in alarms
    ]
    return SkillReply(f"There is the {join_names(listed)}.")


async def _cancel(call: SkillCall, schedule: Schedule, context: SkillContext) -> SkillReply:
    alarms = list_kept(await schedule.entries(), "alarm")
    ringing = [alarm for alarm in alarms if alarm.state == "ringing"]
    if ringing and not call.slots and not names_all(call.text):
        return await stop(schedule, context.room) or SkillReply(NO_ALARM)
    if not alarms:
        return SkillReply(NO_ALARM, code="no_valid_targets")
    found = _choose(alarms, call.slots.get("label"), call.slots.get("when"))
    if not found:
        listed = _tell(alarms, context.now).text
        return SkillReply(f"There is no such alarm. {listed}", code="no_valid_targets")
    if len(found) > 1 and not names_all(call.text):
        listed = join_names([f"the {tell_entry(alarm, context.now)}" for alarm in found], "or")
        question = Question(SKILL.name, {"intent": "alarm_cancel"})
        return SkillReply(f"Which one: {listed}?", question=question)
    return await _remove(found, schedule)


def _choose(
    alarms: Sequence[ScheduleEntry], label: str | None, when: datetime | None
) -> list[ScheduleEntry]:
    """Return the alarms that a name, a time of day or a day can mean."""
    if when is None:
        return find_by_label(alarms, label)
    exact = [alarm for alarm in alarms if alarm.due == when]
    clock = [
        alarm
        for alarm in alarms
        if (alarm.due.hour % 12, alarm.due.minute) == (when.hour % 12, when.minute)
    ]
    return exact or clock or [alarm for alarm in alarms if alarm.due.date() == when.date()]


async def _remove(alarms: Sequence[ScheduleEntry], schedule: Schedule) -> SkillReply:
    for alarm in alarms:
        await schedule.cancel(alarm.entry_id)
    if len(alarms) > 1:
        return _acted(f"I cancelled {len(alarms)} alarms.", *alarms)
    [alarm] = alarms
    return _acted(f"I cancelled the {name_entry(alarm)} at {say_time(alarm.due)}.", alarm)


def _acted(text: str, *entries: ScheduleEntry) -> SkillReply:
    actions = tuple({"type": entry.kind, "name": name_entry(entry)} for entry in entries)
    return SkillReply(text, acted=True, actions=actions)


_WHEN = Slot("moment", "when it rings", is_required=False)
_LABEL = Slot("text", "the name of the alarm", is_required=False)
_REPEAT_SLOTS = {
    "time": Slot("time", "the time of day"),
    "days": Slot("weekdays", "the weekdays on which it rings"),
    "label": _LABEL,
}
_SET = "(set|create|make|add|put on|give me|i need|i want|start)"
_WAKE = "(wake (me|us) [up]|get (me|us) up)"
_CANCEL = "(cancel|delete|remove|clear|turn off|switch off|disable|stop|dismiss)"
_MY = "[the|my|our|that|this]"
_NAMED = "(called|named|for|labeled|labelled)"
SKILL = Skill(
    name="alarms",
    intents=(
        SkillIntent(
            "alarm_set",
            "set an alarm",
            (
                f"{_SET} [an|a|the|my|another] alarm [for|at] {{when}}",
                f"{_SET} [an|a|the|my|another] alarm [for|at] {{when}} {_NAMED} {{label}}",
                f"{_SET} [an|a|the|my|another] {{label}} alarm (for|at) {{when}}",
                f"{_SET} [an|a|the|my|another] {{when}} alarm",
                f"{_SET} [an|a|the|my|another] alarm",
                "[an] alarm [for|at] {when}",
                f"{_WAKE} [at|by|around] {{when}}",
                f"{{when}} {_WAKE}",
                "(i need|i have|i want) to (get up|wake up|be up) [at|by] {when}",
            ),
            {"when": _WHEN, "label": _LABEL},
        ),
        SkillIntent(
            "alarm_repeat",
            "set an alarm that repeats",
            (
                f"{_SET} [an|a|the|my|another] alarm [for|at] {{time}} [on] {{days}}",
                f"{_SET} [an|a|the|my|another] alarm [for|on] {{days}} [at|for] {{time}}",
                f"{_SET} [an|a|the|my|another] {{label}} alarm [for|at] {{time}} [on] {{days}}",
                f"{_SET} [an|a|the|my|another] {{days}} alarm [for|at] {{time}}",
                f"{_SET} [an|a|the|my|another] {{time}} alarm [for|on] {{days}}",
                f"{_WAKE} [at|by] {{time}} [on] {{days}}",
                f"{_WAKE} [on] {{days}} [at|by] {{time}}",
                f"{{days}} {_WAKE} [at|by] {{time}}",
                "[an] alarm [for|at] {time} [on] {days}",
            ),
            _REPEAT_SLOTS,
        ),
        SkillIntent(
            "alarm_list",
            "list the alarms",
            (
                "(what|which) alarms (do i have|do we have|are set|are there) [for tomorrow]",
                "(when|what time) (is|are) (the|my|our) [next] alarm[s] [set] [for]",
                "(what is|what's) my [next] alarm [set] [for|to]",
                "(list|show|tell me|read) [me] [all] [the|my|of my] alarms",
                "(is there|do i have|are there|did i set) (an|any) alarm[s] [set|[for] tomorrow]",
                "(is|are) (the|my) alarm[s] [still] (on|set)",
                "(when|what time) (do you|will you|are you going to) wake me [up]",
                "(when|what time) (will|does|is) (the|my) [next] alarm (ring|go off|going off)",
            ),
        ),
        SkillIntent(
            "alarm_cancel",
            "cancel an alarm",
            (
                f"{_CANCEL} [all|all of|both] {_MY} alarm[s]",
                f"{_CANCEL} {_MY} alarm[s] (for|at|on) {{when}}",
                f"{_CANCEL} {_MY} {{when}} alarm",
                f"{_CANCEL} {_MY} {{label}} alarm",
                f"{_CANCEL} every alarm",
                f"(turn|switch) {_MY} alarm[s] off",
                "(don't|do not) wake (me|us) [up] [{when}]",
            ),
            {"when": _WHEN, "label": _LABEL},
        ),
    ),
    handle=handle,
    answer=answer,
)
