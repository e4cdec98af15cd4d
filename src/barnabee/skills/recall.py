"""Recall: questions that the family's notes answer, and the list of notes."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence

from barnabee.core.errors import Unavailable
from barnabee.understanding.interfaces import KnownFact
from barnabee.understanding.note_subjects import (
    choose_similar,
    extract_words,
    find_loosely,
    find_notes,
    find_notes_about,
    find_replaced,
    parse_statement,
)
from barnabee.understanding.skill import (
    Skill,
    SkillCall,
    SkillContext,
    SkillIntent,
    SkillReply,
    Slot,
)

MAX_SPOKEN = 5
_NOT_TOLD = "You haven't told me that."
NOTHING_TOLD = "You haven't asked me to remember anything yet."
_AT_A_PLACE = re.compile(
    r"remind (?:me|us) when (?:i|we|you|he|she|they)(?: are|'re| am|'m| is)? "
    r"(?:get|come|am|are|is|arrive|leave|go|reach|back|home|at|in)\b",
    re.IGNORECASE,
)
_ABOUT_NOTES = frozenset(
    "remember change_note change_value new_value correct_note recall recall_about note_question "
    "notes".split()
)


async def recall(call: SkillCall, context: SkillContext) -> SkillReply | None:
    """Answer a question that begins like one about notes."""
    if _AT_A_PLACE.match(call.text):
        return None  # a reminder
    question = re.sub(r"^(?:remind me|do you (?:still )?(?:remember|know))\s+", "", call.text)
    notes = await context.memory.facts()
    found = await _search(question, notes, context)
    found = found or find_notes_about(call.slots.get("question", ""), notes)
    if not found and re.match(r"do you (?:still )?know\b", call.text, re.IGNORECASE):
        return None  # a question that others may answer
    return _recite(found) if found else SkillReply(_NOT_TOLD)


async def recall_about(call: SkillCall, context: SkillContext) -> SkillReply | None:
    notes = await context.memory.facts()
    subject = call.slots["subject"]
    if not extract_words(subject):
        return _list(notes)
    found = find_notes_about(subject, notes)
    if not found and call.text.lower().startswith("what do you know"):
        return None
    return _recite(found) if found else SkillReply(f"You haven't told me anything about {subject}.")


async def answer_question(call: SkillCall, context: SkillContext) -> SkillReply | None:
    """Answer any question if there is a note about it."""
    try:
        found = await _search(call.text, await context.memory.facts(), context)
    except Unavailable:
        return None
    return _recite(found) if found else None


async def _search(
    question: str, notes: Sequence[KnownFact], context: SkillContext
) -> Sequence[KnownFact]:
    """Return the notes that answer `question`; embeddings decide about other verbs."""
    found = find_notes(question, notes)
    similar = [] if found else find_loosely(question, notes)
    if not similar:
        return found
    try:
        vector = (await context.embedder.embed([question]))[0]
    except Unavailable:
        return []
    return choose_similar(vector, similar)


async def list_notes(call: SkillCall, context: SkillContext) -> SkillReply:
    return _list(await context.memory.facts())


async def find_last_note(context: SkillContext) -> KnownFact | None:
    """Return the note that the last reply quoted."""
    last = context.history[-1] if context.history else None
    if last is None or last.intent not in _ABOUT_NOTES:
        return None
    spoken = [note for note in await context.memory.facts() if note.text in last.reply]
    return spoken[-1] if spoken else None


def _recite(notes: Sequence[KnownFact]) -> SkillReply:
    """Quote the newest of `notes`; of those with one subject only the last one told."""
    shown, subjects = list[KnownFact](), set[frozenset[str]]()
    for note in notes:
        statement = parse_statement(note.text)
        is_older = (
            statement is not None
            and statement.words in subjects
            and find_replaced(statement, shown) is not None
        )
        if statement is not None:
            subjects.add(statement.words)
        if not is_older:
            shown.append(note)
    return SkillReply(f"You told me: {quote_notes(shown[:3])}.")


def _list(notes: Sequence[KnownFact]) -> SkillReply:
    if not notes:
        return SkillReply(NOTHING_TOLD)
    newest = list(notes)[::-1][:MAX_SPOKEN]
    if len(notes) > MAX_SPOKEN:
        opening = f"You told me {len(notes)} things. The last {MAX_SPOKEN}"
        return SkillReply(f"{opening}: {quote_notes(newest)}.")
    return SkillReply(f"You told me: {quote_notes(newest)}.")


def quote_notes(notes: Sequence[KnownFact]) -> str:
    """Return the texts of one or several notes as one spoken list."""
    texts = [note.text for note in notes]
    return texts[0] if len(texts) == 1 else f"{'; '.join(texts[:-1])}; and {texts[-1]}"


_HANDLERS: Mapping[str, Callable[[SkillCall, SkillContext], Awaitable[SkillReply | None]]] = {
    "recall": recall,
    "recall_about": recall_about,
    "note_question": answer_question,
    "list_notes": list_notes,
}


async def handle(call: SkillCall, context: SkillContext) -> SkillReply | None:
    return await _HANDLERS[call.intent](call, context)


SKILL = Skill(
    "recall",
    (
        SkillIntent(
            "recall",
            "tell you what you asked me to remember",
            (
                "remind me (where|what|when|who|which|how|whose) {question}",
                "do you [still] (remember|know) {question}",
                "where did (i|we|you) (put|leave|park|hide|store|keep|stash) {question}",
                "what did (i|we) (tell|say to) you {question}",
            ),
            {"question": Slot(description="the question")},
        ),
        SkillIntent(
            "recall_about",
            "tell you what I know about something",
            (
                "what (did|have) (i|we) (tell|told|say|said) [to] [you] [before] about {subject}",
                "what do you (know|remember) about {subject}",
                "remind me about {subject}",
                "(read|tell) me [(the|my)] (note|notes) (about|on) {subject}",
                "what is (the|my) note (about|on) {subject}",
                "do (i|we) have a note about {subject}",
            ),
            {"subject": Slot(description="what the note is about")},
        ),
        SkillIntent(
            "note_question",
            "look in your notes",
            (
                "(what|which|who|whose|when|where|how) {question}",
                "(is|are|was|were|does|do|did|can|has|have) {question}",
                "tell me (what|which|who|whose|when|where|how) {question}",
            ),
            {"question": Slot(description="the question without its first word")},
        ),
        SkillIntent(
            "list_notes",
            "read your notes",
            (
                "what (have|did) (i|we) (told|tell|asked|ask) you to (remember|note|keep in mind)",
                "what (have|did) (i|we) (told|tell) you [so far]",
                "what (do you|are you|can you) (remember|remembering) [(for me|so far)]",
                "what (should|did) you remember [for me]",
                "what (do|did|should) i (have|need|want) to remember",
                "(list|read|show|tell) [me] [all] [of] (my|the|our|your) notes [to me]",
                "read [(out|back)] (my|the|our) notes",
                "what notes (do i have|are there|do you have|did i make)",
                "what (are|is in|is on) my notes",
                "do (i|we|you) have [any] notes",
            ),
        ),
    ),
    handle,
)
