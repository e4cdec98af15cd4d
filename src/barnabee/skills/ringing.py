"""What rings, and which timer, alarm or reminder a sentence means."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from barnabee.understanding.entity_lookup import capitalize, join_names
from barnabee.understanding.interfaces import EntryKind, Schedule, ScheduleEntry
from barnabee.understanding.schedule_phrases import name_entry, say_duration, say_when
from barnabee.understanding.skill import (
    Question,
    Skill,
    SkillCall,
    SkillContext,
    SkillIntent,
    SkillReply,
    Slot,
)
from barnabee.understanding.slots import parse_duration
from barnabee.understanding.words import fold_name

NOT_CONFIGURED = SkillReply("I can't keep time here: no schedule is set up.", code="not_configured")
_KEPT = {"pending", "paused", "ringing"}
_NOT_A_LABEL = re.compile(
    r"\b(?:timer|alarm|reminder|the|my|for|one(?![ -](?:second|minute|hour)))\b", re.IGNORECASE
)
_ALL = re.compile(r"\b(?:all|every|everything|both)\b", re.IGNORECASE)


def add_time(now: datetime, duration: timedelta) -> datetime:
    """Return the moment after `duration`, also across a change of the clocks."""
    return (now.astimezone(UTC) + duration).astimezone(now.tzinfo)


def list_kept(entries: Sequence[ScheduleEntry], kind: EntryKind) -> list[ScheduleEntry]:
    """Return the entries of a kind that are not over, the next due first."""
    return [entry for entry in entries if entry.kind == kind and entry.state in _KEPT]


def names_all(text: str) -> bool:
    """Return whether a sentence means all entries of its kind."""
    return _ALL.search(text) is not None


def find_by_label(entries: Sequence[ScheduleEntry], label: str | None) -> list[ScheduleEntry]:
    """Return the entries that `label` can mean, or all without one."""
    if not label:
        return list(entries)
    wanted = _fold(label)
    exact = [entry for entry in entries if _fold(entry.label) == wanted]
    return exact or [entry for entry in entries if wanted and wanted in _fold(entry.label)]


def ask_which(skill: str, found: Sequence[ScheduleEntry], data: Mapping[str, Any]) -> SkillReply:
    """Return the question which of several entries is meant."""
    names = join_names([f"the {name_entry(entry)}" for entry in found], "or")
    return SkillReply(f"Which one: {names}?", question=Question(skill, data))


def tell_entry(entry: ScheduleEntry, now: datetime) -> str:
    """Return "school alarm tomorrow at 7 AM"."""
    return f"{name_entry(entry)} {say_when(entry.due, now)}"


def _fold(label: str) -> str:
    """Return a label for comparison: "ten minutes" is the "10 minute" timer."""
    text = _NOT_A_LABEL.sub(" ", label)
    duration = parse_duration(text.strip())
    return str(duration) if duration is not None else fold_name(text.strip())


async def handle(call: SkillCall, context: SkillContext) -> SkillReply | None:
    """Return None when nothing rings, because the words may mean something else."""
    if context.schedule is None:
        return None
    if call.intent == "ring_stop":
        return await stop(context.schedule, context.room)
    minutes = call.slots.get("minutes")
    duration = timedelta(minutes=minutes) if minutes else call.slots.get("duration")
    return await _snooze(context.schedule, duration, context)


async def stop(schedule: Schedule, room: str | None) -> SkillReply | None:
    """Stop what rings; None when nothing does."""
    stopped = await schedule.stop_ringing(room)
    if not stopped:
        return None
    if all(entry.kind == "reminder" for entry in stopped):
        return _acted("Okay.", *stopped)
    names = join_names([f"the {name_entry(entry)}" for entry in stopped])
    return _acted(f"I stopped {names}.", *stopped)


async def _snooze(
    schedule: Schedule, duration: timedelta | None, context: SkillContext
) -> SkillReply | None:
    stopped = await schedule.stop_ringing(context.room)
    if not stopped:
        return None
    wait = duration or schedule.snooze_for
    due = add_time(context.now, wait)
    for entry in stopped:
        again = replace(entry, entry_id=secrets.token_hex(8), due=due, state="pending")
        await schedule.save(replace(again, weekdays=frozenset()))
    names = capitalize(join_names([f"the {name_entry(entry)}" for entry in stopped]))
    verb = "rings" if len(stopped) == 1 else "ring"
    return _acted(f"{names} {verb} again in {say_duration(wait)}.", *stopped)


def _acted(text: str, *entries: ScheduleEntry) -> SkillReply:
    actions = tuple({"type": entry.kind, "name": name_entry(entry)} for entry in entries)
    return SkillReply(text, acted=True, actions=actions)


SKILL = Skill(
    name="ringing",
    intents=(
        SkillIntent(
            "ring_stop",
            "stop what rings",
            (
                "stop [it|that|this|now|ringing|beeping]",
                "(stop|end|silence|turn off) (the|that|this) (ringing|noise|beeping|chime)",
                "(dismiss|silence|quiet|be quiet|enough|shut up|shush|hush) [it|now]",
                "(that's enough|that is enough|make it stop|all right|alright)",
                "(thanks|thank you|ok|okay|got it|i got it|i heard you|i know|yes|noted)",
                "(i'm|i am) (up|awake|coming|on it|getting up)",
            ),
        ),
        SkillIntent(
            "ring_snooze",
            "let what rings ring again later",
            (
                "snooze [it|that|the alarm|the timer|the reminder|again]",
                "snooze [it|that|the alarm] for {duration}",
                "{duration} more [sleep]",
                "[just] {minutes} more minutes",
                "(give me|let me have|let me sleep) [another] {duration} [more|longer]",
                "(remind|tell|ask) me again [later|in {duration}]",
                "(not yet|not now|later)",
            ),
            {
                "duration": Slot("duration", "for how long", is_required=False),
                "minutes": Slot("number", "for how many minutes", is_required=False),
            },
        ),
    ),
    handle=handle,
)
