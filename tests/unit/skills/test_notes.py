"""Notes: remembered, changed, forgotten and found, in dialogues of three skills."""

from __future__ import annotations

import pytest

from barnabee.core.errors import DependencyDown
from barnabee.skills import forgetting, load_skills, notes, recall, smalltalk
from support.skills import FakeMemory, SkillDialogue

ASKS = "asks"  # in place of a reply: some question is asked
Turns = tuple[tuple[str, str | None], ...]


async def converse(turns: Turns, dialogue: SkillDialogue | None = None) -> SkillDialogue:
    """Say each sentence and compare the beginning of the reply; None means no reply."""
    dialogue = dialogue or SkillDialogue(
        (forgetting.SKILL, notes.SKILL, recall.SKILL, smalltalk.SKILL)
    )
    for text, expected in turns:
        reply = await dialogue.say(text)
        if expected is None:
            assert reply is None, (text, reply)
        elif expected == ASKS:
            assert reply is not None, text
            assert reply.question is not None, text
        else:
            assert reply is not None, text
            assert reply.text.startswith(expected), (text, reply.text)
    return dialogue


DIALOGUES: dict[str, Turns] = {
    "the last one told wins": (
        ("remember that the gate code is 1234", "Okay, I'll remember: the gate code is 1234."),
        ("remember the new gate code is 5678", "Okay, I changed it: the gate code is 5678."),
        ("what is the gate code", "You told me: the gate code is 5678."),
        ("what do you remember", "You told me: the gate code is 5678."),
    ),
    "a statement changes the note": (
        ("remember that the gate code is 1234", "Okay"),
        ("the new gate code is 5678", "Okay, I changed it"),
        ("the gate code is now 1111", "Okay, I changed it"),
        ("the gate code has changed to 2222", "Okay, I changed it"),
        ("change the gate code to 3333", "Okay, I changed it"),
        ("what's the code for the gate?", "You told me: the gate code is 3333."),
    ),
    "a correction changes the last note": (
        ("remember that the plumber comes on friday", "Okay"),
        ("remember that the gate code is 1234", "Okay"),
        ("actually it's 5678", "Okay, I changed it: the gate code is 5678."),
        ("no, I meant 9999", "Okay, I changed it: the gate code is 9999."),
    ),
    "a new value is offered to be remembered": (
        ("the new alarm code is 77", "Should I remember that the alarm code is 77?"),
        ("yes please", "Okay, I'll remember: the alarm code is 77."),
        ("what is the alarm code", "You told me: the alarm code is 77."),
    ),
    "several things can be true of a person": (
        ("remember that Emma is allergic to nuts", "Okay"),
        ("remember that Emma is allergic to eggs", "Okay, I'll remember"),
        ("what is Emma allergic to", "You told me: Emma is allergic to eggs; and Emma is"),
        ("what can't Emma eat", "You told me: Emma"),
        ("is Emma allergic to nuts", "You told me: Emma is allergic to nuts."),
    ),
    "a note is forgotten": (
        ("remember that the spare key is under the mat", "Okay"),
        ("forget about the spare key", "Okay, I've forgotten: the spare key is under the mat."),
        ("where is the spare key?", None),
        ("forget about the spare key", "I have no note about the spare key."),
        ("what have I told you to remember", "You haven't asked me to remember anything yet."),
    ),
    "the last note is forgotten": (
        ("remember that the spare key is under the mat", "Okay"),
        ("forget that", "Okay, I've forgotten: the spare key"),
        ("forget that", "Okay."),
    ),
    "several notes are deleted after a question": (
        ("remember that Emma is allergic to nuts", "Okay"),
        ("remember that Emma likes tennis", "Okay"),
        ("forget what I told you about Emma", ASKS),
        ("no", "Okay, I keep them."),
        ("delete all my notes", ASKS),
        ("yes", "Okay, I've forgotten both."),
        ("what do you remember", "You haven't asked me"),
    ),
    "notes are listed": (
        ("remember that Emma is allergic to nuts", "Okay"),
        ("remember the bins go out on tuesday", "Okay"),
        ("what have I told you to remember", "You told me: the bins go out on tuesday; and Emma"),
        ("what do you know about Emma", "You told me: Emma is allergic to nuts."),
        ("what do you know about whales", None),
        ("what did I tell you about the boiler", "You haven't told me anything about the boiler."),
    ),
    "what to remember is asked for": (
        ("remember this for me", "What should I remember?"),
        ("the bins go out on tuesday", "Okay, I'll remember: the bins go out on tuesday."),
        ("make a note", "What should I remember?"),
        ("never mind", "Okay."),
        ("when do the bins go out", "You told me: the bins go out on tuesday."),
    ),
    "a relative day is stored as a date": (
        (
            "remember the plumber comes tomorrow at nine",
            "Okay, I'll remember: the plumber comes on",
        ),
        ("when does the plumber come", "You told me: the plumber comes on Sunday, November twenty"),
        ("remember that today is a good day", "Okay, I'll remember: today is a good day."),
    ),
    "a note told twice is stored once": (
        ("remember that the gate code is 1234", "Okay"),
        ("remember that the gate code is 1234", "I know that already: the gate code is 1234."),
        ("what do you remember", "You told me: the gate code is 1234."),
    ),
    "what is said about the past is no note": (("remember when we went camping", None),),
}


@pytest.mark.parametrize("turns", DIALOGUES.values(), ids=DIALOGUES.keys())
async def test_dialogue(turns: Turns) -> None:
    await converse(turns)


@pytest.mark.parametrize(
    ("note", "sentence"),
    [
        ("the christmas tree lights are in the attic", "turn on the christmas tree lights"),
        ("the christmas tree lights are in the attic", "are the christmas tree lights on"),
        ("dad likes black coffee", "make me a coffee"),
        ("dad likes black coffee", "where is dad"),
        ("dad likes black coffee", "when was dad born"),
        ("grandma's birthday is on May fifth", "when is grandpa's birthday"),
        ("mum's sister's birthday is on May fifth", "when is mum's birthday"),
        ("the wifi password is blue monkey", "what's the password for netflix"),
        ("the front door code is 1234", "is the front door locked"),
        ("the kitchen paint is called sea fog", "how warm is the kitchen"),
        ("the lawn mower needs a new blade", "what is a lawn mower"),
        ("the snow shovel is behind the boiler", "why does it snow"),
        ("the kids like pizza", "order a pizza"),
    ],
)
async def test_a_note_is_not_recited_for_another_question(note: str, sentence: str) -> None:
    dialogue = SkillDialogue((notes.SKILL, recall.SKILL))
    await converse(((f"remember that {note}", "Okay"), (sentence, None)), dialogue)


@pytest.mark.parametrize(
    ("note", "question"),
    [
        ("the christmas tree lights are in the attic", "where are the christmas tree lights"),
        ("dad likes black coffee", "what does dad like"),
        ("grandma's birthday is on May fifth", "when is grandma's birthday?"),
        ("the wifi password is blue monkey", "what's the wi-fi password"),
        ("the bins go out on tuesday", "remind me when the bins go out"),
        ("the bins go out on tuesday", "which day do the bins go out"),
        ("the pizza place number is 555-1234", "what's the number of the pizza place"),
        ("I parked the car on level two", "where did I park"),
        ("the spare keys are under the mat", "do you remember where the spare key is"),
    ],
)
async def test_a_question_about_the_same_subject_is_answered(note: str, question: str) -> None:
    reply = f"You told me: {note}."
    await converse(((f"remember that {note}", "Okay"), (question, reply)))


async def test_questions_pass_to_others_while_the_notes_cannot_be_read() -> None:
    memory = FakeMemory(error=DependencyDown(dependency="database", reason="gone"))
    dialogue = SkillDialogue((notes.SKILL, recall.SKILL), memory=memory)
    assert await dialogue.say("where is the spare key") is None
    with pytest.raises(DependencyDown):
        await dialogue.say("what have I told you to remember")


async def test_a_note_is_known_by_its_words_without_embeddings() -> None:
    dialogue = SkillDialogue((notes.SKILL, recall.SKILL))
    reply = await dialogue.say("remember that the drill is at my brother's place")
    assert reply is not None
    assert reply.degraded == ("gpu",)
    assert reply.acted
    await converse((("where is the drill", "You told me: the drill"),), dialogue)


async def test_other_skills_keep_their_sentences() -> None:
    dialogue = SkillDialogue(load_skills())
    await converse(
        (
            ("remember that the time is money", "Okay"),
            ("what time is it", "It's twenty past three"),
            ("what is two plus two", "That's 4."),
            ("when is Christmas", "That is Friday"),
        ),
        dialogue,
    )
