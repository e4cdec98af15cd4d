"""Notes: what is remembered and changed. `recall` finds them, `forgetting` deletes them."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import date

from barnabee.core.errors import Unavailable
from barnabee.skills.recall import find_last_note
from barnabee.understanding.interfaces import KnownFact, Vectors
from barnabee.understanding.note_subjects import (
    find_replaced,
    parse_statement,
)
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
from barnabee.understanding.spoken_dates import parse_date
from barnabee.understanding.spoken_forms import say_day

NAME = "notes"
_WHAT = "What should I remember?"
_NO_FACT = re.compile(
    r"(?:when|how|who|what|why|where|the time (?:when|that|we|i)|me|if|whether)\b", re.IGNORECASE
)
_DANGLING = re.compile(r"(?:this|that|it|something|anything|a note)?(?: for me)?", re.IGNORECASE)
_RELATIVE_DAY = re.compile(
    r" (?P<day>(?:the )?day after tomorrow|tomorrow|today)(?=$|[,;]| at )", re.IGNORECASE
)
_CANCEL = re.compile(r"(?:never ?mind|forget it|cancel|nothing|stop)", re.IGNORECASE)


async def remember(call: SkillCall, context: SkillContext) -> SkillReply | None:
    said = call.slots.get("note", "")
    note = re.sub(r"^(?:that|this|down)\b[\s,:]*", "", said, flags=re.IGNORECASE)
    if _NO_FACT.match(note):
        return None
    if _DANGLING.fullmatch(note):
        return await ask_what(call, context)
    return await _store(_fix_day(note, context.now.date()), context)


def _fix_day(note: str, today: date) -> str:
    """Return `note` with the date of "tomorrow", which is another day when it is read."""

    def name_day(match: re.Match[str]) -> str:
        day = parse_date(match["day"].lower(), today)
        return f" on {say_day(day, today=today)}" if day is not None else match[0]

    return _RELATIVE_DAY.sub(name_day, note)


async def ask_what(call: SkillCall, context: SkillContext) -> SkillReply:
    return SkillReply(_WHAT, question=Question(NAME, {"kind": "what"}))


async def change_note(call: SkillCall, context: SkillContext) -> SkillReply | None:
    """Change the note with this subject; a "new" value without one may be remembered."""
    is_new = call.intent == "new_value"
    subject, value = call.slots["subject"], call.slots["value"]
    note = re.sub(r" new\b", "", call.text, count=1) if is_new else f"{subject} is {value}"
    statement = parse_statement(note)
    older = None
    if statement is not None and statement.words:
        older = find_replaced(statement, await _read_notes(context))
    if older is not None:
        return await _store(note, context, replaced=older)
    if is_new:
        question = Question(NAME, {"kind": "remember", "note": note})
        return SkillReply(f"Should I remember that {note}?", question=question)
    is_about_note = call.intent == "change_value" and " note " in call.text
    return SkillReply(f"I have no note about {subject}.") if is_about_note else None


async def correct_note(call: SkillCall, context: SkillContext) -> SkillReply | None:
    last = await find_last_note(context)
    statement = parse_statement(last.text) if last is not None else None
    if statement is None:
        return None
    note = f"{statement.subject} {statement.verb} {call.slots['value']}"
    return await _store(note, context, replaced=last)


async def answer(question: Question, text: str, context: SkillContext) -> SkillReply | None:
    """Handle the sentence after a question of this skill."""
    kind, agreed = question.data["kind"], parse_yes_no(text)
    if kind == "what":
        is_cancelled = agreed is False or _CANCEL.fullmatch(text)
        return SkillReply("Okay.") if is_cancelled else await _store(text, context)
    if agreed is None:
        return None
    return await _store(question.data["note"], context) if agreed else SkillReply("Okay.")


async def _store(
    note: str, context: SkillContext, *, replaced: KnownFact | None = None
) -> SkillReply:
    """Store `note` in place of an older one with the same subject."""
    notes, statement = await _read_notes(context), parse_statement(note)
    if any(known.text.lower() == note.lower() for known in notes):
        return SkillReply(f"I know that already: {note}.")
    if replaced is None and statement is not None:
        replaced = find_replaced(statement, notes)
    if replaced is not None and statement is not None:
        note = f"{statement.subject} {statement.verb} {statement.value}"
    vector, degraded = await _embed(note, context)
    degraded += await context.memory.remember(note, vector, context.speaker)
    if replaced is not None:
        degraded += await _remove(replaced, context)
    opening = "Okay, I'll remember" if replaced is None else "Okay, I changed it"
    action = {"type": "remembered", "name": note}
    return SkillReply(
        f"{opening}: {note}.", acted=True, degraded=tuple(degraded), actions=(action,)
    )


async def _read_notes(context: SkillContext) -> Sequence[KnownFact]:
    """Return the notes, none while they cannot be read: a new one can be queued."""
    try:
        return await context.memory.facts()
    except Unavailable:
        return ()


async def _remove(note: KnownFact, context: SkillContext) -> list[str]:
    """Delete a replaced note; where that fails the newer one is recited first."""
    try:
        await context.memory.forget([note.fact_id])
    except Unavailable:
        return ["database"]
    return []


async def _embed(note: str, context: SkillContext) -> tuple[Vectors | None, list[str]]:
    try:
        return (await context.embedder.embed([note]))[0], []
    except Unavailable:
        return None, ["gpu"]


_HANDLERS: Mapping[str, Callable[[SkillCall, SkillContext], Awaitable[SkillReply | None]]] = {
    "remember": remember,
    "remember_what": ask_what,
    "change_value": change_note,
    "change_note": change_note,
    "new_value": change_note,
    "correct_note": correct_note,
}


async def handle(call: SkillCall, context: SkillContext) -> SkillReply | None:
    return await _HANDLERS[call.intent](call, context)


_NOTE = {"note": Slot(description="what to remember, a whole sentence")}
_CHANGE = {
    "subject": Slot(description="what the note is about"),
    "value": Slot(description="the new value"),
}
SKILL = Skill(
    NAME,
    (
        SkillIntent(
            "remember",
            "remember something",
            (
                "remember [that] {note}",
                "(make|take) a note [(that|of|about)] {note}",
                "note [down] [that] {note}",
                "(write|jot) down [that] {note}",
                "keep in mind [that] {note}",
                "(don't|do not|dont) forget [that] {note}",
                "save this {note}",
            ),
            _NOTE,
        ),
        SkillIntent(
            "remember_what",
            "remember something that you tell me next",
            (
                "remember [(this|that|something)] [for me]",
                "(make|take|save) a note [for me]",
                "i want you to remember something",
            ),
        ),
        SkillIntent(
            "change_value",
            "change a note",
            (
                "(change|update|set|correct) [(my|the)] note (about|on|of) {subject} to {value}",
                "(change|update|correct) {subject} to {value}",
            ),
            _CHANGE,
        ),
        SkillIntent(
            "change_note",
            "change a note about the same subject",
            (
                "{subject} (is|are) [now] {value}",
                "{subject} [has] changed to {value}",
            ),
            _CHANGE,
        ),
        SkillIntent(
            "new_value",
            "remember something new",
            ("(the|my|our) new {subject} (is|are) [now] {value}",),
            _CHANGE,
        ),
        SkillIntent(
            "correct_note",
            "correct the last note",
            (
                "[no] [actually] (it is|it's|its|that is|that's|it was|it should be) {value}",
                "[no] [sorry] i (meant|mean) {value}",
            ),
            {"value": Slot(description="the right value")},
        ),
    ),
    handle,
    answer,
)
