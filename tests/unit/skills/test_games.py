"""Coins, dice, numbers, choices and jokes."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from barnabee.skills import games
from support.skills import SkillDialogue


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("flip a coin", r"It's (heads|tails)\."),
        ("roll a die", r"You rolled an? [1-6]\."),
        ("roll the dice", r"You rolled an? [1-6]\."),
        ("roll two dice", r"You rolled [1-6] and [1-6]\. That's \d+ in all\."),
        ("roll a 20 sided die", r"You rolled an? \d+\."),
        ("roll 3 six-sided dice", r"You rolled [1-6], [1-6] and [1-6]\. That's \d+ in all\."),
        ("roll 500 dice", r"I only have 20 dice.*"),
        ("pick a number between one and ten", r"I picked ([1-9]|10)\."),
        ("give me a random number", r"I picked \d+\."),
        ("random number between 7 and 7", r"I picked 7\."),
        ("choose pizza or pasta", r"I say (pizza|pasta)\."),
    ],
)
async def test_chance_decides(text: str, pattern: str) -> None:
    reply = await SkillDialogue((games.SKILL,)).say(text)
    assert reply is not None
    assert re.fullmatch(pattern, reply.text)


async def test_no_joke_is_told_twice_in_a_row() -> None:
    dialogue = SkillDialogue((games.SKILL,))
    told = []
    assert await dialogue.say("another one") is None
    for text in ["tell me a joke", *["another one"] * 9]:
        reply = await dialogue.say(text)
        assert reply is not None
        told.append(reply.text)
    assert len(set(told)) == len(told)


def test_jokes_are_many_short_and_different() -> None:
    path = Path(games.__file__).with_name("jokes.toml")
    jokes = tomllib.loads(path.read_text(encoding="utf-8"))["jokes"]
    assert len(jokes) >= 60
    assert len(set(jokes)) == len(jokes)
    assert max(map(len, jokes)) <= 120
