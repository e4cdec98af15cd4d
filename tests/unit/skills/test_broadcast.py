"""Announcements in other rooms."""

from __future__ import annotations

import pytest

from barnabee.skills import broadcast
from support.skills import FakeAnnouncer, SkillDialogue


@pytest.fixture
def dialogue() -> SkillDialogue:
    announcer = FakeAnnouncer(rooms=("attic", "kitchen", "living_room"))
    return SkillDialogue((broadcast.SKILL,), room="kitchen", announcer=announcer)


@pytest.mark.parametrize(
    ("sentence", "said", "rooms"),
    [
        ("tell everyone dinner is ready", "Dinner is ready.", ("attic", "living_room")),
        ("tell everyone that dinner is ready", "Dinner is ready.", ("attic", "living_room")),
        ("tell the kids to come down", "Please come down.", ("attic", "living_room")),
        ("announce in the attic that the bus is here", "The bus is here.", ("attic",)),
        ("say good night in the living room", "Good night.", ("living_room",)),
        ("call everyone for dinner", "Time for dinner.", ("attic", "living_room")),
    ],
)
async def test_it_is_said_in_the_other_rooms_or_in_the_one_named(
    dialogue: SkillDialogue, sentence: str, said: str, rooms: tuple[str, ...]
) -> None:
    reply = await dialogue.say(sentence)
    assert reply is not None
    assert reply.acted
    assert dialogue.announcer is not None
    assert dialogue.announcer.said == [(said, rooms)]


async def test_an_announcement_without_words_is_asked_for(dialogue: SkillDialogue) -> None:
    reply = await dialogue.say("make an announcement")
    assert reply is not None
    assert reply.text == "What should I say?"
    reply = await dialogue.say("we leave in five minutes")
    assert reply is not None
    assert reply.text == "I said it in the attic and the living room."


async def test_where_nobody_hears_it_is_said(dialogue: SkillDialogue) -> None:
    reply = await dialogue.say("announce in the cellar that dinner is ready")
    assert reply is not None
    assert (reply.text, reply.acted) == (
        "No speaker of mine is connected there: the cellar.",
        False,
    )
    dialogue.announcer = FakeAnnouncer(rooms=("kitchen",))
    reply = await dialogue.say("tell everyone dinner is ready")
    assert reply is not None
    assert reply.text == "No other room is connected."


@pytest.mark.parametrize("sentence", ["tell me that story", "tell the robot that it is good"])
async def test_what_is_told_to_no_room_is_no_announcement(
    dialogue: SkillDialogue, sentence: str
) -> None:
    assert await dialogue.say(sentence) is None
