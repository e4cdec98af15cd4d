"""Reminders. It is Saturday, 28 November, 15:20."""

from __future__ import annotations

import pytest

from barnabee.skills import reminders
from support.schedule import FakeSchedule
from support.skills import SkillDialogue


@pytest.fixture
def schedule() -> FakeSchedule:
    return FakeSchedule()


@pytest.fixture
def dialogue(schedule: FakeSchedule) -> SkillDialogue:
    return SkillDialogue((reminders.SKILL,), room="kitchen", schedule=schedule)


async def say(dialogue: SkillDialogue, text: str) -> str:
    reply = await dialogue.say(text)
    assert reply is not None, text
    return reply.text


@pytest.mark.parametrize(
    ("sentence", "kept", "reply"),
    [
        (
            "remind me to call my mother tomorrow at nine am",
            "call my mother 11-29 09:00:00",
            "I'll remind you tomorrow at 9 AM to call your mother.",
        ),
        ("remind me in 20 minutes to check the oven", "check the oven 11-28 15:40:00", "3:40 PM"),
        ("in ten minutes remind me to feed the cat", "feed the cat 11-28 15:30:00", "feed the cat"),
        ("set a reminder for 5 pm to feed the cat", "feed the cat 11-28 17:00:00", "at 5 PM"),
        ("remind Tom to do his homework at five", "do his homework 11-28 17:00:00", "remind Tom"),
        (
            "remind me that the parcel arrives on Friday",
            "the parcel arrives 12-04 09:00:00",
            "on Friday at 9 AM: the parcel arrives.",
        ),
    ],
)
async def test_a_reminder_is_set(
    dialogue: SkillDialogue, schedule: FakeSchedule, sentence: str, kept: str, reply: str
) -> None:
    assert reply in await say(dialogue, sentence)
    assert schedule.described() == [f"reminder {kept}"]


async def test_a_reminder_for_somebody_says_for_whom(
    dialogue: SkillDialogue, schedule: FakeSchedule
) -> None:
    await say(dialogue, "remind Tom to do his homework at five")
    await say(dialogue, "remind us to leave at six")
    assert [entry.speaker for entry in schedule.kept.values()] == ["Tom", None]


async def test_what_is_missing_is_asked_for(
    dialogue: SkillDialogue, schedule: FakeSchedule
) -> None:
    assert await say(dialogue, "remind me to call grandma") == "When should I remind you?"
    assert await say(dialogue, "in ten minutes") == "I'll remind you at 3:30 PM to call grandma."
    assert await say(dialogue, "remind me tomorrow") == "What should I remind you of?"
    assert "tomorrow at 9 AM to water the plants" in await say(dialogue, "to water the plants")
    assert await say(dialogue, "remind me to buy bread when I get home") == (
        "I can't tell where people are. When should I remind you?"
    )
    assert "at 6 PM to buy bread." in await say(dialogue, "at six pm")
    assert await say(dialogue, "remind me to sleep") == "When should I remind you?"
    assert await say(dialogue, "never mind") == "Okay, no reminder."
    assert len(schedule.kept) == 3


@pytest.mark.parametrize(
    ("sentence", "due", "days"),
    [
        ("remind me every Monday to put the bins out", "11-30 09:00", {0}),
        ("remind me to water the plants every day at 7 pm", "11-28 19:00", set(range(7))),
    ],
)
async def test_a_reminder_repeats(
    dialogue: SkillDialogue, schedule: FakeSchedule, sentence: str, due: str, days: set[int]
) -> None:
    await say(dialogue, sentence)
    [entry] = schedule.kept.values()
    assert (f"{entry.due:%m-%d %H:%M}", set(entry.weekdays)) == (due, days)


async def test_reminders_are_listed_and_cancelled(
    dialogue: SkillDialogue, schedule: FakeSchedule
) -> None:
    assert await say(dialogue, "what reminders do I have") == "There is no reminder set."
    await say(dialogue, "remind me at 5 pm to call my dad")
    await say(dialogue, "remind me at 6 pm to feed the cat")
    assert await say(dialogue, "what are my reminders") == (
        "There is a reminder to call your dad at 5 PM and a reminder to feed the cat at 6 PM."
    )
    assert (await say(dialogue, "cancel the reminder")).startswith("Which one: the reminder to")
    assert await say(dialogue, "feed the cat") == "I cancelled the reminder to feed the cat."
    assert "no such reminder" in await say(dialogue, "cancel the reminder to dance")
    assert "call your dad" in await say(dialogue, "don't remind me to call my dad")
    assert schedule.kept == {}
