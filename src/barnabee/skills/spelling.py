"""Spelling of words, letter by letter."""

from __future__ import annotations

import re

from barnabee.understanding.skill import (
    Skill,
    SkillCall,
    SkillContext,
    SkillIntent,
    SkillReply,
    Slot,
)

MAX_CHARS = 60
_PRONOUNS = frozenset({"it", "that", "this", "them"})


def spell(text: str) -> str | None:
    """Return "Cat: C, A, T."; None if `text` has no letters or is too long to be spelled."""
    word = re.sub(r"^(?:the )?(?:word|name|letters?) ", "", text.strip(), flags=re.IGNORECASE)
    word = re.sub(r" (?:slowly|again|for me)$", "", word, flags=re.IGNORECASE)
    letters = [
        "apostrophe" if character == "'" else "hyphen" if character == "-" else character.upper()
        for character in word
        if character.isalnum() or character in "'-"
    ]
    if not any(map(str.isalpha, word)) or len(word) > MAX_CHARS or word.lower() in _PRONOUNS:
        return None
    return f"{word[0].upper()}{word[1:]}: {', '.join(letters)}."


def count_letters(text: str) -> str | None:
    count = sum(map(str.isalpha, text))
    return f"{text.capitalize()} has {count} letter{'s' if count != 1 else ''}." if count else None


async def handle(call: SkillCall, context: SkillContext) -> SkillReply | None:
    word = call.slots["word"]
    text = spell(word) if call.intent == "spell" else count_letters(word)
    return None if text is None else SkillReply(text)


_WORD = {"word": Slot(description="the word")}
SKILL = Skill(
    "spelling",
    (
        SkillIntent(
            "spell",
            "spell a word",
            (
                "[(how do you|how do i|how would you|how to)] spell [(the word|the name)] {word}",
                "how (is|do you write) [the word] {word} spelled",
                "how (is|are) [the word] {word} (spelled|spelt|written)",
                "what is the spelling of {word}",
            ),
            _WORD,
        ),
        SkillIntent(
            "count_letters",
            "count the letters of a word",
            (
                "how many letters (are|are there) [in] [the word] {word}",
                "how many letters (does|has) [the word] {word} [have]",
                "how many letters in [the word] {word}",
            ),
            _WORD,
        ),
    ),
    handle,
)
