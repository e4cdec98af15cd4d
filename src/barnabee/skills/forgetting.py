"""Forgetting: notes that the family asks to delete; several only after a question."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

from barnabee.skills.recall import NOTHING_TOLD, find_last_note, quote_notes
from barnabee.understanding.interfaces import KnownFact
from barnabee.understanding.note_subjects import extract_words, find_notes_about
from barnabee.understanding.questions import parse_yes_no
from barnabee.understanding.skill import (
    Question,
    Skill,
    SkillCall,
    SkillContext,
    SkillIntent,
    SkillReply,
    Slot,
)

NAME = "forgetting"


async def forget(call: SkillCall, context: SkillContext) -> SkillReply | None:
    subject = call.slots["subject"]
    if not extract_words(subject):
        return None
    found = find_notes_about(subject, await context.memory.facts())
    if not found:
        return SkillReply(f"I have no note about {subject}.")
    if len(found) > 1:
        return _ask_before(found, f"I have {len(found)} notes about that: {quote_notes(found)}.")
    return await _forget(found, context)


async def forget_last(call: SkillCall, context: SkillContext) -> SkillReply | None:
    last = await find_last_note(context)
    return await _forget([last], context) if last is not None else None


async def forget_all(call: SkillCall, context: SkillContext) -> SkillReply:
    notes = await context.memory.facts()
    if not notes:
        return SkillReply(NOTHING_TOLD)
    what = {1: "your only note", 2: "both notes"}.get(len(notes), f"all {len(notes)} notes")
    return _ask_before(notes, f"That deletes {what}.")


async def answer(question: Question, text: str, context: SkillContext) -> SkillReply | None:
    """Delete the notes after a yes."""
    agreed = parse_yes_no(text)
    if agreed is None:
        return None
    if not agreed:
        return SkillReply("Okay, I keep them.")
    ids = question.data["ids"]
    await context.memory.forget(ids)
    what = {1: "it", 2: "both"}.get(len(ids), f"all {len(ids)} of them")
    return SkillReply(f"Okay, I've forgotten {what}.", acted=True)


async def _forget(notes: Sequence[KnownFact], context: SkillContext) -> SkillReply:
    await context.memory.forget([note.fact_id for note in notes])
    action = {"type": "forgotten", "name": notes[0].text}
    return SkillReply(f"Okay, I've forgotten: {notes[0].text}.", acted=True, actions=(action,))


def _ask_before(notes: Sequence[KnownFact], opening: str) -> SkillReply:
    ids = [note.fact_id for note in notes]
    return SkillReply(
        f"{opening} Shall I delete {'it' if len(ids) == 1 else 'them'}?",
        question=Question(NAME, {"kind": "forget", "ids": ids}),
    )


_HANDLERS: Mapping[str, Callable[[SkillCall, SkillContext], Awaitable[SkillReply | None]]] = {
    "forget_note": forget,
    "forget_last_note": forget_last,
    "forget_all_notes": forget_all,
}


async def handle(call: SkillCall, context: SkillContext) -> SkillReply | None:
    return await _HANDLERS[call.intent](call, context)


_SUBJECT = {"subject": Slot(description="what the note is about")}
SKILL = Skill(
    NAME,
    (
        SkillIntent(
            "forget_note",
            "forget a note",
            (
                "forget [about] [that] {subject}",
                (
                    "(delete|remove|erase|forget|clear) [(the|my)] (note|notes) (about|on|of|that) "
                    "{subject}"
                ),
                "(delete|remove|erase|forget) what i (told you|said) about {subject}",
                "(don't|do not|dont) remember {subject} [(anymore|any more|any longer)]",
                "stop remembering {subject}",
            ),
            _SUBJECT,
        ),
        SkillIntent(
            "forget_last_note",
            "forget the last note",
            ("forget (that|it|this) [(again|note)]", "(delete|remove|erase) that note"),
        ),
        SkillIntent(
            "forget_all_notes",
            "delete all notes",
            (
                (
                    "forget [about] everything [(i told you|i have told you|i "
                    "said|you know)] [about me]"
                ),
                (
                    "(delete|remove|erase|clear|forget) [all] [of] (my|the|your) "
                    "(notes|memory|memories)"
                ),
                "(delete|remove|erase|clear|forget) (all|every) (notes|note)",
            ),
        ),
    ),
    handle,
    answer,
)
