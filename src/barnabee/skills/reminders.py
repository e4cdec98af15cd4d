"""Reminders: at a time, in a while, for another person, on weekdays."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, time

from barnabee.skills.alarms import REPEATED, find_next
from barnabee.skills.ringing import (
    NOT_CONFIGURED,
    add_time,
    ask_which,
    find_by_label,
    list_kept,
    names_all,
)
from barnabee.understanding.entity_lookup import join_names
from barnabee.understanding.interfaces import Schedule, ScheduleEntry
from barnabee.understanding.schedule_phrases import (
    is_statement,
    name_entry,
    say_time,
    say_weekdays,
    say_when,
    turn_around,
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
from barnabee.understanding.slots import parse_duration, parse_moment

NO_REMINDER = "There is no reminder set."
DEFAULT_TIME = time(9)  # of a reminder on weekdays without a time
_CANCELLED = re.compile(r"(?:never ?mind|cancel|forget it|no|stop|nothing)", re.IGNORECASE)
_PLACE = re.compile(
    r" (?:when|once|as soon as|the next time) (?:i|we|you|he|she|they) .*$", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class _Wish:
    """What is known of a reminder so far."""

    text: str = ""
    when: datetime | None = None
    person: str | None = None
    weekdays: frozenset[int] = frozenset()


async def handle(call: SkillCall, context: SkillContext) -> SkillReply | None:
    schedule = context.schedule
    if schedule is None:
        return NOT_CONFIGURED
    slots = call.slots
    match call.intent:
        case "reminder_set":
            place = f" when {slots['place']}" if "place" in slots else ""
            text = slots.get("text", "") + place
            wish = _Wish(text, slots.get("when"), slots.get("person"))
            return await _set(wish, context)
        case "reminder_repeat":
            if not REPEATED.search(call.text):  # "the parcel arrives on Friday"
                return None
            when = find_next(slots.get("time", DEFAULT_TIME), slots["days"], context.now)
            return await _set(_Wish(slots["text"], when, weekdays=slots["days"]), context)
        case "reminder_list":
            return _tell(list_kept(await schedule.entries(), "reminder"), context.now)
        case _:
            return await _cancel(call, schedule)


async def answer(question: Question, text: str, context: SkillContext) -> SkillReply | None:
    """Complete the reminder with what was asked for, or cancel the one that was named."""
    if context.schedule is None:
        return None
    if _CANCELLED.fullmatch(text.strip(" .!")):
        return SkillReply("Okay, no reminder.")
    data = question.data
    if data["intent"] == "reminder_cancel":
        reminders = list_kept(await context.schedule.entries(), "reminder")
        found = reminders if names_all(text) else find_by_label(reminders, text)
        return await _remove(found, context.schedule) if found else None
    wish = _Wish(data["text"], _read_moment(data["when"]), data["person"])
    if not wish.text:
        said = re.sub(r"^(?:to|about|of|that) ", "", text.strip(" .!?"))
        return await _set(replace(wish, text=said), context)
    when = parse_answered_moment(text, context.now)
    return await _set(replace(wish, when=when), context) if when else None


def parse_answered_moment(text: str, now: datetime) -> datetime | None:
    """Return the moment that an answer says: "at six", "tomorrow morning", "ten minutes"."""
    said = re.sub(r"^(?:remind me|please) ", "", text.strip(" .!?").lower())
    duration = parse_duration(said)
    return add_time(now, duration) if duration else parse_moment(said, now)


async def _set(wish: _Wish, context: SkillContext) -> SkillReply:
    if context.schedule is None:
        return NOT_CONFIGURED
    text = _PLACE.sub("", f" {wish.text}").strip()
    whom = wish.person or "you"
    if not text:
        return _ask(f"What should I remind {whom} of?", wish)
    if text != wish.text and wish.when is None:
        begin = "I can't tell where people are."
        return _ask(f"{begin} When should I remind {whom}?", replace(wish, text=text))
    if wish.when is None:
        return _ask(f"When should I remind {whom}?", wish)
    if wish.when <= context.now:
        return _ask("That time has passed. When should I remind you?", replace(wish, when=None))
    entry = ScheduleEntry(
        secrets.token_hex(8),
        "reminder",
        wish.when,
        label=text,
        room=context.room,
        speaker=wish.person,
        weekdays=wish.weekdays,
    )
    await context.schedule.save(entry)
    link = ":" if is_statement(text) else " to"
    due = _say_due(entry, context.now)
    return _acted(f"I'll remind {whom} {due}{link} {_say_task(entry)}.", entry)


def _ask(text: str, wish: _Wish) -> SkillReply:
    when = wish.when.isoformat() if wish.when else None
    data = {"intent": "reminder_set", "text": wish.text, "when": when, "person": wish.person}
    return SkillReply(text, question=Question(SKILL.name, data))


def _read_moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _say_due(entry: ScheduleEntry, now: datetime) -> str:
    if entry.weekdays:
        return f"at {say_time(entry.due)} {say_weekdays(entry.weekdays)}"
    return say_when(entry.due, now)


def _say_task(entry: ScheduleEntry) -> str:
    return entry.label if entry.speaker else turn_around(entry.label)


def _tell(reminders: Sequence[ScheduleEntry], now: datetime) -> SkillReply:
    if not reminders:
        return SkillReply(NO_REMINDER)
    listed = [f"a {name_entry(entry)} {_say_due(entry, now)}" for entry in reminders]
    return SkillReply(f"There is {join_names(listed)}.")


async def _cancel(call: SkillCall, schedule: Schedule) -> SkillReply:
    reminders = list_kept(await schedule.entries(), "reminder")
    if not reminders:
        return SkillReply(NO_REMINDER, code="no_valid_targets")
    found = find_by_label(reminders, call.slots.get("text"))
    if not found:
        return SkillReply("There is no such reminder.", code="no_valid_targets")
    if len(found) > 1 and not names_all(call.text):
        return ask_which(SKILL.name, found, {"intent": "reminder_cancel"})
    return await _remove(found, schedule)


async def _remove(reminders: Sequence[ScheduleEntry], schedule: Schedule) -> SkillReply:
    for entry in reminders:
        await schedule.cancel(entry.entry_id)
    if len(reminders) > 1:
        return _acted(f"I cancelled {len(reminders)} reminders.", *reminders)
    return _acted(f"I cancelled the {name_entry(reminders[0])}.", *reminders)


def _acted(text: str, *entries: ScheduleEntry) -> SkillReply:
    actions = tuple({"type": "reminder", "name": name_entry(entry)} for entry in entries)
    return SkillReply(text, acted=True, actions=actions)


_TEXT = Slot("text", "what to be reminded of, as in: call the doctor", is_required=False)
_PERSON = Slot("text", "who is to be reminded, if it is not the speaker", is_required=False)
_WHEN = Slot("moment", "when to remind", is_required=False)
_REMIND = "(remind|don't let|do not let)"
_ABOUT = "(about|of|that|it's|it is)"
_REMINDER = "(set|create|make|add|put on|i need|give me) [a|me a|another] reminder"
_CANCEL = "(cancel|delete|remove|clear|forget|turn off)"
_PLACE_SLOT = Slot(description="an event, as in: when I get home", is_required=False)
SKILL = Skill(
    name="reminders",
    intents=(
        SkillIntent(
            "reminder_set",
            "set a reminder",
            (
                f"{_REMIND} (me|us) [forget] [to|{_ABOUT}] {{text}} {{when}}",
                f"{_REMIND} (me|us) [forget] {{when}} (to|{_ABOUT}) {{text}}",
                f"{_REMIND} (me|us) [forget] to {{text}}",
                f"{{when}} {_REMIND} (me|us) [forget] (to|{_ABOUT}) {{text}}",
                f"{_REMIND} (me|us) (when|once|as soon as) {{place}} (to|{_ABOUT}) {{text}}",
                "remind (me|us) [{when}]",
                f"{_REMIND} {{person}} [forget] (to|{_ABOUT}) {{text}} {{when}}",
                f"{_REMIND} {{person}} [forget] {{when}} (to|{_ABOUT}) {{text}}",
                f"{_REMIND} {{person}} [forget] to {{text}}",
                f"{_REMINDER} [to|for|{_ABOUT}] {{text}} {{when}}",
                f"{_REMINDER} [for|at] {{when}} (to|{_ABOUT}) {{text}}",
                f"{_REMINDER} (to|for|{_ABOUT}) {{text}}",
                f"{_REMINDER} [for|at] {{when}}",
                f"{_REMINDER}",
            ),
            {"text": _TEXT, "when": _WHEN, "person": _PERSON, "place": _PLACE_SLOT},
        ),
        SkillIntent(
            "reminder_repeat",
            "set a reminder that repeats",
            (
                f"remind (me|us) [to|{_ABOUT}] {{text}} [on] {{days}} [at {{time}}]",
                f"remind (me|us) [to|{_ABOUT}] {{text}} at {{time}} [on] {{days}}",
                f"remind (me|us) [on] {{days}} [at {{time}}] (to|{_ABOUT}) {{text}}",
                f"remind (me|us) at {{time}} [on] {{days}} (to|{_ABOUT}) {{text}}",
                f"{{days}} [at {{time}}] remind (me|us) (to|{_ABOUT}) {{text}}",
                f"{_REMINDER} [to|for|{_ABOUT}] {{text}} [on|for] {{days}} [at {{time}}]",
            ),
            {
                "text": Slot("text", "what to be reminded of"),
                "days": Slot("weekdays", "the weekdays"),
                "time": Slot("time", "the time of day", is_required=False),
            },
        ),
        SkillIntent(
            "reminder_list",
            "list the reminders",
            (
                "(what|which) reminders (do i have|do we have|are set|are there) [today|tomorrow]",
                "(list|show|tell me|read) [me] [all] [the|my|of my] reminders",
                "(what are|what're) my reminders",
                "(are there|do i have|do we have) any reminders [set|today|tomorrow]",
                "what did i ask you to remind me (of|about)",
            ),
        ),
        SkillIntent(
            "reminder_cancel",
            "cancel a reminder",
            (
                f"{_CANCEL} [all|all of] [the|my|that|our] reminder[s]",
                f"{_CANCEL} [the|my|that|our] reminder (to|for|about|of) {{text}}",
                f"{_CANCEL} [the|my|that|our] {{text}} reminder",
                "(don't|do not) remind me (to|about|of) {text}",
            ),
            {"text": _TEXT},
        ),
    ),
    handle=handle,
    answer=answer,
)
