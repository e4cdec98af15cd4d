"""What rings, whether timer, alarm or reminder: stop it, or let it ring again later."""

from __future__ import annotations

import secrets
from dataclasses import replace
from datetime import timedelta

from barnabee.skills.entry_choice import add_time
from barnabee.understanding.entity_lookup import capitalize, join_names
from barnabee.understanding.interfaces import Schedule, ScheduleEntry
from barnabee.understanding.schedule_phrases import name_entry, say_duration
from barnabee.understanding.skill import (
    Skill,
    SkillCall,
    SkillContext,
    SkillIntent,
    SkillReply,
    Slot,
)


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
