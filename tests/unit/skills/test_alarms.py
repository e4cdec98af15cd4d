"""Alarms: once, on weekdays, listed, cancelled. It is Saturday, 28 November, 15:20."""

from __future__ import annotations

import pytest

from barnabee.skills import alarms, ringing
from support.schedule import FakeSchedule
from support.skills import SkillDialogue


@pytest.fixture
def schedule() -> FakeSchedule:
    return FakeSchedule()


@pytest.fixture
def dialogue(schedule: FakeSchedule) -> SkillDialogue:
    return SkillDialogue((alarms.SKILL, ringing.SKILL), room="bedroom", schedule=schedule)


async def say(dialogue: SkillDialogue, text: str) -> str:
    reply = await dialogue.say(text)
    assert reply is not None, text
    return reply.text


@pytest.mark.parametrize(
    ("sentence", "due", "reply"),
    [
        ("wake me up at 7 am", "11-29 07:00", "I set an alarm for tomorrow at 7 AM."),
        ("set an alarm for 7", "11-28 19:00", "I set an alarm for 7 PM."),
        ("set an alarm for half past six tomorrow", "11-29 06:30", "tomorrow at 6:30 AM"),
        ("set an alarm for 7 am on Monday", "11-30 07:00", "on Monday at 7 AM"),
        ("wake me in 20 minutes", "11-28 15:40", "an alarm for 3:40 PM"),
        ("set a school alarm for 7 am", "11-29 07:00", "a school alarm for tomorrow"),
    ],
)
async def test_an_alarm_is_set(
    dialogue: SkillDialogue, schedule: FakeSchedule, sentence: str, due: str, reply: str
) -> None:
    assert reply in await say(dialogue, sentence)
    [alarm] = schedule.kept.values()
    assert f"{alarm.due:%m-%d %H:%M}" == due
    assert (alarm.room, alarm.weekdays) == ("bedroom", frozenset())


@pytest.mark.parametrize(
    ("sentence", "due", "days", "reply"),
    [
        ("set an alarm for 6:30 every weekday", "11-30 06:30", "01234", "6:30 AM on weekdays"),
        ("wake me up at 7 every day", "11-29 07:00", "0123456", "7 AM every day"),
        ("wake me up every Monday at 6:45", "11-30 06:45", "0", "6:45 AM every Monday"),
        ("set an alarm for 9 am on weekends", "11-29 09:00", "56", "9 AM on weekends"),
    ],
)
async def test_an_alarm_repeats(
    dialogue: SkillDialogue, schedule: FakeSchedule, sentence: str, due: str, days: str, reply: str
) -> None:
    assert reply in await say(dialogue, sentence)
    [alarm] = schedule.kept.values()
    assert f"{alarm.due:%m-%d %H:%M}" == due
    assert alarm.weekdays == frozenset(map(int, days))


async def test_alarms_are_asked_for_listed_and_cancelled(
    dialogue: SkillDialogue, schedule: FakeSchedule
) -> None:
    assert await say(dialogue, "what alarms do I have") == "There is no alarm set."
    assert await say(dialogue, "set an alarm") == "For when?"
    assert "for tomorrow at 8 AM" in await say(dialogue, "at 8 am tomorrow")
    await say(dialogue, "wake me up at 7 am on weekdays")
    assert await say(dialogue, "what alarms do I have") == (
        "There is the alarm tomorrow at 8 AM and alarm at 7 AM on weekdays."
    )
    assert (await say(dialogue, "cancel the alarm")).startswith("Which one: the alarm tomorrow")
    assert await say(dialogue, "the one at 8 am") == "I cancelled the alarm at 8 AM."
    assert "no such alarm" in await say(dialogue, "cancel the 5 am alarm")
    assert await say(dialogue, "cancel my 7 am alarm") == "I cancelled the alarm at 7 AM."
    assert schedule.kept == {}
    for hour in (6, 7):
        await say(dialogue, f"wake me up at {hour} am")
    assert await say(dialogue, "cancel all alarms") == "I cancelled 2 alarms."


async def test_turning_off_the_alarm_that_rings_does_not_cancel_the_others(
    dialogue: SkillDialogue, schedule: FakeSchedule
) -> None:
    await say(dialogue, "set a school alarm for 7 am")
    await say(dialogue, "set a gym alarm for 8 am")
    schedule.ring("school")
    assert await say(dialogue, "turn off the alarm") == "I stopped the school alarm."
    assert [alarm.label for alarm in schedule.kept.values()] == ["gym"]
