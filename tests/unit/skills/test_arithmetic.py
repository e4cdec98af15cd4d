"""Spoken arithmetic."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barnabee.skills import arithmetic
from barnabee.skills.arithmetic import say_result, translate_expression
from support.skills import SkillDialogue


async def ask(text: str) -> str | None:
    reply = await SkillDialogue((arithmetic.SKILL,)).say(text)
    return reply.text if reply else None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("what is two plus two", "That's 4."),
        ("What's 7 times 8?", "That's 56."),
        ("12 x 12", "That's 144."),
        ("what is a hundred and five minus thirty two", "That's 73."),
        ("divide 84 by 3", "That's 28 each."),
        ("what's 10 divided by 4", "That's 2.5."),
        ("what's twelve hundred divided by seven", "That's about 171.43."),
        ("what is ten minus three times two", "That's 4."),
        ("what is three and a half times two", "That's 7."),
        ("subtract 5 from 20", "That's 15."),
        ("what's 15% of 80?", "That's 12."),
        ("what is twenty percent of fifty dollars", "That's 10 dollars."),
        ("what is 100 plus 20 percent", "That's 120."),
        ("how much is 20% off of 50", "That's 40."),
        ("what percent of 80 is 20", "That's 25 percent."),
        ("what is half of 84", "That's 42."),
        ("two thirds of 90", "That's 60."),
        ("a third of 90", "That's 30."),
        ("one third plus one half", "That's about 0.83."),
        ("20 percent tip on 45 dollars", "A 20 percent tip on 45 is 9, 54 in all."),
        ("square root of 144", "That's 12."),
        ("what's the square root of two", "That's about 1.41."),
        ("what's 3 squared", "That's 9."),
        ("2 to the power of 10", "That's 1024."),
        ("5 factorial", "That's 120."),
        ("what is negative five plus three", "That's -2."),
        ("what's 0.1 plus 0.2", "That's 0.3."),
        ("what is one divided by three", "That's about 0.33."),
        ("split 84 dollars between 3 people", "That's 28 each."),
        ("split 100 between 3", "That's about 33.33 each."),
        ("what is a 15 percent tip on 84", "A 15 percent tip on 84 is 12.60, 96.60 in all."),
        ("what is 10 divided by zero", "Nothing can be divided by zero."),
        ("what is 9 to the power of 999", "That number is too large for me."),
        ("what is 2 ** 2 ** 2 ** 2 ** 2 ** 2", "That number is too large for me."),
        ("what is the square root of minus 4", "That has no real result."),
    ],
)
async def test_sums_are_worked_out(text: str, expected: str) -> None:
    assert await ask(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "what is love",
        "what is 7",
        "7 8 9",
        "add milk and eggs",
        "what is __import__('os')",
        "1 2 3",
    ],
)
async def test_other_sentences_are_left_alone(text: str) -> None:
    assert await ask(text) is None


@given(st.text(alphabet="0123456789+-*/%^().! abcdefo", max_size=40))
def test_no_text_is_anything_but_a_number_or_a_reason(text: str) -> None:
    expression = translate_expression(text)
    if expression is None:
        return
    try:
        value = arithmetic.evaluate(expression)
    except (ValueError, arithmetic._Unanswerable):
        return
    assert abs(value) <= 10**31


@given(st.integers(-(10**6), 10**6), st.integers(-(10**6), 10**6))
def test_addition_is_that_of_integers(first: int, second: int) -> None:
    expression = translate_expression(f"{first} plus {second}")
    assert expression is not None
    assert arithmetic.evaluate(expression) == first + second


@given(st.floats(-1e14, 1e14, allow_nan=False))
def test_a_spoken_result_is_near_the_exact_one(value: float) -> None:
    said = float(say_result(value).removeprefix("about "))
    assert abs(said - value) <= max(0.006, abs(value) * 0.1)
