"""Timers: several at once, with names; how long is left, pause, resume, more time, cancel."""

from __future__ import annotations

import re
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

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
    add_article,
    name_duration,
    name_entry,
    say_duration,
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
from barnabee.understanding.slots import parse_duration

NO_TIMER = "There is no timer running."
_CANCELLED = re.compile(r"(?:never ?mind|cancel|forget it|no|stop|nothing)", re.IGNORECASE)


async def handle(call: SkillCall, context: SkillContext) -> SkillReply | None:
    if context.schedule is None:
        return NOT_CONFIGURED
    if call.intent == "timer_set":
        return await _set(call.slots.get("duration"), call.slots.get("label"), context)
    timers = list_kept(await context.schedule.entries(), "timer")
    if not timers:
        return SkillReply(NO_TIMER, code="no_valid_targets")
    found = find_by_label(timers, call.slots.get("label"))
    if not found:
        return SkillReply(_describe_unknown(call.slots["label"], timers), code="no_valid_targets")
    if call.intent in {"timer_left", "timer_list"}:
        return SkillReply(" ".join(_tell_left(timer, context.now) for timer in found))
    return await _change(call, _narrow(call, found, context.room), context)


async def answer(question: Question, text: str, context: SkillContext) -> SkillReply | None:
    """Set the timer for the duration that was asked for, or change the one that was named."""
    if context.schedule is None:
        return None
    if _CANCELLED.fullmatch(text.strip(" .!")):
        return SkillReply("Okay.")
    intent, slots = question.data["intent"], question.data["slots"]
    if intent == "timer_set":
        said = re.sub(r"^(?:for|to)\s+", "", text.strip(" .!?").lower())
        duration = parse_duration(said) or parse_duration(f"{said} minutes")
        return await _set(duration, slots.get("label"), context) if duration else None
    timers = list_kept(await context.schedule.entries(), "timer")
    found = timers if names_all(text) else find_by_label(timers, text)
    if not found or (len(found) > 1 and not names_all(text)):
        return None
    if "seconds" in slots:
        slots = {"duration": timedelta(seconds=slots["seconds"])}
    return await _change(SkillCall(intent, slots, text), found, context)


async def _set(
    duration: timedelta | None, label: str | None, context: SkillContext
) -> SkillReply | None:
    label = re.sub(r"^(?:the|my|a|an) ", "", label or "", flags=re.IGNORECASE)
    if duration is None:
        slots = {"label": label} if label else {}
        data = {"intent": "timer_set", "slots": slots}
        return SkillReply("For how long?", question=Question(SKILL.name, data))
    if context.schedule is None:
        return NOT_CONFIGURED
    due = add_time(context.now, duration)
    name = label or name_duration(duration)
    entry = ScheduleEntry(
        secrets.token_hex(8), "timer", due, label=name, room=context.room, speaker=None
    )
    await context.schedule.save(entry)
    called = f"{label} timer" if label else "timer"
    return _acted(f"I set {add_article(called)} for {say_duration(duration, parts=4)}.", [entry])


def _narrow(
    call: SkillCall, found: Sequence[ScheduleEntry], room: str | None
) -> Sequence[ScheduleEntry]:
    """Prefer what rings, and else the only timer of the room."""
    if names_all(call.text):
        return found
    ringing = [timer for timer in found if timer.state == "ringing"]
    state = {"timer_pause": "pending", "timer_resume": "paused"}.get(call.intent)
    fitting = [timer for timer in found if timer.state == state] if state else []
    here = [timer for timer in found if room is not None and timer.room == room]
    return next((some for some in (ringing, fitting, here) if len(some) == 1), found)


async def _change(
    call: SkillCall, timers: Sequence[ScheduleEntry], context: SkillContext
) -> SkillReply | None:
    if context.schedule is None:
        return NOT_CONFIGURED
    if len(timers) > 1 and not names_all(call.text):
        duration = call.slots.get("duration")
        slots = {"seconds": duration.total_seconds()} if duration else {}
        return ask_which(SKILL.name, timers, {"intent": call.intent, "slots": slots})
    change = _CHANGES[call.intent]
    texts = [await change(timer, call.slots, context.now, context.schedule) for timer in timers]
    if call.intent == "timer_cancel" and len(timers) > 1:
        texts = [f"I cancelled {len(timers)} timers."]
    return _acted(" ".join(texts), timers)


async def _cancel(
    timer: ScheduleEntry, _slots: Mapping[str, object], _now: datetime, schedule: Schedule
) -> str:
    await schedule.cancel(timer.entry_id)
    verb = "stopped" if timer.state == "ringing" else "cancelled"
    return f"I {verb} the {name_entry(timer)}."


async def _pause(
    timer: ScheduleEntry, _slots: Mapping[str, object], now: datetime, schedule: Schedule
) -> str:
    if timer.state != "pending":
        return f"The {name_entry(timer)} is not running."
    left = _left(timer, now)
    await schedule.save(replace(timer, state="paused", remaining=left))
    return f"I paused the {name_entry(timer)} with {say_duration(left)} left."


async def _resume(
    timer: ScheduleEntry, _slots: Mapping[str, object], now: datetime, schedule: Schedule
) -> str:
    if timer.state != "paused":
        return f"The {name_entry(timer)} is not paused."
    left = _left(timer, now)
    due = add_time(now, left)
    await schedule.save(replace(timer, state="pending", remaining=None, due=due))
    return f"The {name_entry(timer)} continues, with {say_duration(left)} left."


async def _extend(
    timer: ScheduleEntry, slots: Mapping[str, object], now: datetime, schedule: Schedule
) -> str:
    more = slots["duration"]
    left = _left(timer, now) + (more if isinstance(more, timedelta) else timedelta())
    if timer.state == "paused":
        await schedule.save(replace(timer, remaining=left))
    else:
        await schedule.save(replace(timer, state="pending", due=add_time(now, left)))
    return f"The {name_entry(timer)} now has {say_duration(left)} left."


_Change = Callable[[ScheduleEntry, Mapping[str, object], datetime, Schedule], Awaitable[str]]
_CHANGES: Mapping[str, _Change] = {
    "timer_cancel": _cancel,
    "timer_pause": _pause,
    "timer_resume": _resume,
    "timer_add": _extend,
}


def _left(timer: ScheduleEntry, now: datetime) -> timedelta:
    if timer.state == "paused" and timer.remaining is not None:
        return timer.remaining
    return max(timedelta(), timer.due.astimezone(UTC) - now.astimezone(UTC))


def _tell_left(timer: ScheduleEntry, now: datetime) -> str:
    if timer.state == "ringing":
        return f"The {name_entry(timer)} is done."
    state = " It is paused." if timer.state == "paused" else ""
    return f"The {name_entry(timer)} has {say_duration(_left(timer, now))} left.{state}"


def _describe_unknown(label: str, timers: Sequence[ScheduleEntry]) -> str:
    names = join_names([f"the {name_entry(timer)}" for timer in timers])
    verb = "is" if len(timers) == 1 else "are"
    return f"There is no {label} timer. Running {verb} {names}."


def _acted(text: str, timers: Sequence[ScheduleEntry]) -> SkillReply:
    actions = tuple({"type": "timer", "name": name_entry(timer)} for timer in timers)
    return SkillReply(text, acted=True, actions=actions)


_DURATION = Slot("duration", "how long", is_required=False)
_LABEL = Slot("text", "the name of the timer", is_required=False)
_SET = "(set|start|create|make|add|begin|run|put on|give me|i need|i want)"
_A = "[a|an|another|my|the|me a|me an]"
_NAMED = "(for|called|named|labeled|labelled)"
_TIMER = "[the|my|that|this|our] [{label}] timer[s]"
_HOW_LONG = "how (long|much time|many minutes|much longer)"
_CANCEL = "(cancel|stop|delete|remove|clear|end|kill|turn off|switch off|dismiss)"
SKILL = Skill(
    name="timers",
    intents=(
        SkillIntent(
            "timer_set",
            "set a timer",
            (
                f"{_SET} {_A} timer (for|of|to) {{duration}}",
                f"{_SET} {_A} {{duration}} timer",
                f"{_SET} {_A} timer {{duration}}",
                f"[{_SET} {_A}] {{label}} timer (for|of|to) {{duration}}",
                f"{_SET} {_A} {{duration}} {{label}} timer",
                f"{_SET} {_A} {{duration}} timer {_NAMED} {{label}}",
                f"{_SET} {_A} timer (for|of|to) {{duration}} {_NAMED} {{label}}",
                f"{_SET} {_A} timer {_NAMED} {{label}} (for|to) {{duration}}",
                f"{_SET} {_A} timer {_NAMED} {{label}}",
                f"{_SET} {_A} [{{label}}] timer",
                "[a] timer (for|of) {duration}",
                "{duration} timer",
                "[{label}] timer {duration}",
                "(count down|countdown) [from] {duration}",
                "(tell|let|notify|alert|ping) me [know] (in|after) {duration}",
                "time [{label} for] {duration}",
            ),
            {"duration": _DURATION, "label": _LABEL},
        ),
        SkillIntent(
            "timer_left",
            "tell you how long a timer still runs",
            (
                f"{_HOW_LONG} [is|are|do i have] [still] left [(on|for|of) {_TIMER}]",
                f"{_HOW_LONG} (on|for|is|does) {_TIMER} [have] [still] [left|going|running]",
                f"{_HOW_LONG} (until|till|before) {_TIMER} (is|rings|goes|ends) [done|over|off]",
                "how much longer (for|until|does|do) [the|my] {label} [take|need]",
                f"when (is|does|will) {_TIMER} (done|over|end|go off|finish)",
                f"(check|what's|what is) {_TIMER} [at]",
                f"(what is|what's) left on {_TIMER}",
                f"how is {_TIMER} [doing]",
                f"(is|are) {_TIMER} (done|finished|over|ready|still running)",
            ),
            {"label": _LABEL},
        ),
        SkillIntent(
            "timer_list",
            "list the timers",
            (
                "(what|which) timers (do i have|do we have|are running|are set|are on|are there)",
                "(list|show|tell me|read) [me] [all] [the|my|of my] timers",
                "how many timers (do i have|are running|are set|are there) [running]",
                "(are there|do i have|do we have|is there) (a|any|some) timer[s] [running|set|on]",
                "(what are|what're) my timers",
            ),
        ),
        SkillIntent(
            "timer_pause",
            "pause a timer",
            (f"(pause|hold|freeze|halt) {_TIMER}",),
            {"label": _LABEL},
        ),
        SkillIntent(
            "timer_resume",
            "let a paused timer continue",
            (
                f"(resume|continue|unpause|restart|go on with) {_TIMER}",
                f"start {_TIMER} again",
            ),
            {"label": _LABEL},
        ),
        SkillIntent(
            "timer_add",
            "give a timer more time",
            (
                f"(add|put) {{duration}} [more] (to|on|onto) {_TIMER}",
                f"(give|extend|lengthen|prolong) {_TIMER} [by|for] {{duration}} [more]",
                f"{{duration}} (more|longer|extra) (on|for|to) {_TIMER}",
                "add {duration}",
                f"make {_TIMER} {{duration}} longer",
            ),
            {"duration": Slot("duration", "how much more"), "label": _LABEL},
        ),
        SkillIntent(
            "timer_cancel",
            "cancel a timer",
            (f"{_CANCEL} [all|all of|both|every] {_TIMER}", f"(turn|switch) {_TIMER} off"),
            {"label": _LABEL},
        ),
    ),
    handle=handle,
    answer=answer,
)
