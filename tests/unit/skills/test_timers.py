"""Timers: set, named, asked for, paused, extended, cancelled. It is 15:20."""

from __future__ import annotations

from datetime import timedelta

import pytest

from barnabee.skills import ringing, timers
from support.schedule import FakeSchedule
from support.skills import SkillDialogue


@pytest.fixture
def schedule() -> FakeSchedule:
    return FakeSchedule()


@pytest.fixture
def dialogue(schedule: FakeSchedule) -> SkillDialogue:
    skills = (timers.SKILL, ringing.SKILL)
    return SkillDialogue(skills, room="kitchen", schedule=schedule)


async def say(dialogue: SkillDialogue, text: str) -> str:
    reply = await dialogue.say(text)
    assert reply is not None, text
    return reply.text


@pytest.mark.parametrize(
    ("sentence", "kept", "reply"),
    [
        ("set a timer for 10 minutes", "10 minute 15:30:00", "I set a timer for 10 minutes."),
        ("set a 90 second timer", "1 minute 30 second 15:21:30", "1 minute and 30 seconds."),
        ("set a pasta timer for 12 minutes", "pasta 15:32:00", "a pasta timer for 12 minutes."),
        ("set a timer for 5 minutes for the eggs", "eggs 15:25:00", "an eggs timer for 5"),
        ("timer for an hour and a half", "1 hour 30 minute 16:50:00", "1 hour and 30 minutes."),
        ("start a 20 minute laundry timer", "laundry 15:40:00", "laundry timer for 20 minutes"),
        ("let me know in half an hour", "30 minute 15:50:00", "30 minutes."),
        ("set a timer called tea for 3 minutes", "tea 15:23:00", "tea timer"),
    ],
)
async def test_a_timer_is_set(
    dialogue: SkillDialogue, schedule: FakeSchedule, sentence: str, kept: str, reply: str
) -> None:
    label, _, clock = kept.rpartition(" ")
    answer = await dialogue.say(sentence)
    assert answer is not None
    assert answer.acted
    assert reply in answer.text
    assert schedule.described() == [f"timer {label} 11-28 {clock}"]
    assert next(iter(schedule.kept.values())).room == "kitchen"


async def test_a_timer_without_a_duration_is_asked_for(
    dialogue: SkillDialogue, schedule: FakeSchedule
) -> None:
    assert await say(dialogue, "set a pizza timer") == "For how long?"
    assert "pizza timer for 15 minutes" in await say(dialogue, "for 15 minutes")
    assert schedule.described() == ["timer pizza 11-28 15:35:00"]
    assert await say(dialogue, "set a timer for the eggs") == "For how long?"
    assert await say(dialogue, "eight") == "I set an eggs timer for 8 minutes."
    assert await say(dialogue, "start a timer") == "For how long?"
    assert await say(dialogue, "never mind") == "Okay."
    assert len(schedule.kept) == 2


async def test_several_timers_are_told_apart(
    dialogue: SkillDialogue, schedule: FakeSchedule
) -> None:
    for sentence in ("set a pasta timer for 12 minutes", "set a timer for 5 minutes"):
        await say(dialogue, sentence)
    dialogue.now += timedelta(minutes=2)
    pasta = "The pasta timer has 10 minutes left."
    assert await say(dialogue, "how long is left on the pasta timer") == pasta
    assert await say(dialogue, "how much time is left on the five minute timer") == (
        "The 5 minute timer has 3 minutes left."
    )
    assert await say(dialogue, "what timers are running") == (
        f"The 5 minute timer has 3 minutes left. {pasta}"
    )
    assert "There is no soup timer. Running are" in await say(dialogue, "cancel the soup timer")
    assert await say(dialogue, "cancel the timer") == (
        "Which one: the 5 minute timer or the pasta timer?"
    )
    assert await say(dialogue, "the pasta one") == "I cancelled the pasta timer."
    assert await say(dialogue, "add a minute to the timer") == (
        "The 5 minute timer now has 4 minutes left."
    )
    await say(dialogue, "set a pasta timer for 12 minutes")
    assert await say(dialogue, "cancel all timers") == "I cancelled 2 timers."
    assert await say(dialogue, "cancel the timer") == "There is no timer running."
    assert schedule.kept == {}


async def test_a_timer_is_paused_and_goes_on(
    dialogue: SkillDialogue, schedule: FakeSchedule
) -> None:
    await say(dialogue, "set a timer for 10 minutes")
    dialogue.now += timedelta(minutes=4)
    assert "with 6 minutes left" in await say(dialogue, "pause the timer")
    dialogue.now += timedelta(hours=1)
    assert "6 minutes left. It is paused." in await say(dialogue, "how long is left on the timer")
    assert "now has 8 minutes left" in await say(dialogue, "add two minutes to the timer")
    assert "continues, with 8 minutes left" in await say(dialogue, "resume the timer")
    assert schedule.described() == ["timer 10 minute 11-28 16:32:00"]
    assert "is not paused" in await say(dialogue, "resume the timer")


async def test_what_rings_is_stopped_snoozed_or_extended(
    dialogue: SkillDialogue, schedule: FakeSchedule
) -> None:
    assert await dialogue.say("stop") is None
    assert await dialogue.say("thanks") is None
    await say(dialogue, "set a tea timer for 3 minutes")
    dialogue.now += timedelta(minutes=3)
    schedule.ring()
    assert await say(dialogue, "how long is left on the timer") == "The tea timer is done."
    assert await say(dialogue, "snooze") == "The tea timer rings again in 9 minutes."
    assert schedule.described() == ["timer tea 11-28 15:32:00"]
    schedule.ring()
    assert await say(dialogue, "five more minutes") == "The tea timer rings again in 5 minutes."
    schedule.ring()
    assert await say(dialogue, "add two minutes to the timer") == (
        "The tea timer now has 7 minutes left."
    )
    schedule.ring()
    assert await say(dialogue, "thank you") == "I stopped the tea timer."
    assert schedule.kept == {}


async def test_without_a_schedule_it_says_so(dialogue: SkillDialogue) -> None:
    dialogue.schedule = None
    reply = await dialogue.say("set a timer for 3 minutes")
    assert reply is not None
    assert (reply.code, reply.acted) == ("not_configured", False)
