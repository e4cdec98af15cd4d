"""Spelling."""

from __future__ import annotations

import pytest

from barnabee.skills import spelling
from support.skills import SkillDialogue


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("spell cat", "Cat: C, A, T."),
        ("how do you spell Rhythm?", "Rhythm: R, H, Y, T, H, M."),
        ("how do you spell the word don't", "Don't: D, O, N, apostrophe, T."),
        ("how is colour spelled", "Colour: C, O, L, O, U, R."),
        ("how many letters are in the word banana", "Banana has 6 letters."),
        ("spell necessary slowly", "Necessary: N, E, C, E, S, S, A, R, Y."),
        ("spell it slowly", None),
        ("spell 555", None),
        ("spell " + "a" * 100, None),
    ],
)
async def test_words_are_spelled(text: str, expected: str | None) -> None:
    reply = await SkillDialogue((spelling.SKILL,)).say(text)
    assert (reply.text if reply else None) == expected
