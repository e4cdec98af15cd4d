"""Small talk."""

from __future__ import annotations

import pytest

from barnabee.skills import clock, load_skills, smalltalk
from support.skills import SkillDialogue


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hello", "Good afternoon. What can I do for you?"),
        ("how are you?", "I'm fine, thank you. What can I do for you?"),
        ("thank you very much", "You're welcome."),
        ("good night", "Good night. Sleep well."),
        ("bye", "Goodbye."),
        ("no", "Okay."),
        ("never mind", "Okay."),
        ("shut up", "Okay."),
        ("be quiet", "Okay."),
        ("yes", "I'm not waiting for an answer. What can I do for you?"),
        ("who are you", "I'm Barnabee, the voice assistant of your home."),
        ("can you hear me", "Yes, I'm listening."),
        ("what did you say", "I haven't said anything yet."),
        ("what did I say", "You haven't said anything before that."),
    ],
)
async def test_small_words_get_a_fitting_reply(text: str, expected: str) -> None:
    reply = await SkillDialogue((smalltalk.SKILL,)).say(text)
    assert reply is not None
    assert reply.text == expected


async def test_each_side_of_the_conversation_is_repeated() -> None:
    dialogue = SkillDialogue((smalltalk.SKILL, clock.SKILL))
    for text, expected in (
        ("What time is it?", "It's twenty past three in the afternoon."),
        ("what did I say?", "You said: What time is it?"),
        ("what did I just say", "You said: What time is it?"),
        ("what time is it", "It's twenty past three in the afternoon."),
        ("pardon?", "It's twenty past three in the afternoon."),
        ("say that again", "It's twenty past three in the afternoon."),
    ):
        reply = await dialogue.say(text)
        assert reply is not None
        assert reply.text == expected


async def test_asked_again_it_names_everything_it_can_do() -> None:
    dialogue = SkillDialogue((smalltalk.SKILL,))
    said = ""
    for _ in range(4):
        reply = await dialogue.say("what can you do?")
        assert reply is not None
        said += reply.text
    assert smalltalk.HOME in said
    for skill in load_skills():
        assert skill is smalltalk.SKILL or skill.intents[0].description in said


async def test_it_tells_what_one_skill_can_do() -> None:
    reply = await SkillDialogue((smalltalk.SKILL,)).say("help me with notes")
    assert reply is not None
    assert "change a note" in reply.text
    assert await SkillDialogue((smalltalk.SKILL,)).say("help me with the oven") is None
