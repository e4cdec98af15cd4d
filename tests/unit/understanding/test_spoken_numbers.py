"""Numbers in words and figures."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barnabee.understanding.spoken_forms import say_number, say_ordinal
from barnabee.understanding.spoken_numbers import parse_number, replace_number_words


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("zero", 0),
        ("seven", 7),
        ("twenty-one", 21),
        ("a hundred and five", 105),
        ("twelve hundred", 1200),
        ("five thousand three hundred and one", 5301),
        ("two million", 2_000_000),
        ("2 million", 2_000_000),
        ("a dozen", 12),
        ("1,200", 1200),
        ("12.5", 12.5),
        ("two point five", 2.5),
        ("half", 0.5),
        ("a half", 0.5),
        ("three quarters", 0.75),
        ("two and a half", 2.5),
        ("2 1/2", 2.5),
        ("2½", 2.5),
        ("minus five", -5),
        ("-3", -3),
        ("", None),
        ("a", None),
        ("one and", None),
        ("five seven", None),
        ("twenty thirty", None),
        ("1/0", None),
        ("kitchen", None),
        ("9" * 500, None),
    ],
)
def test_numbers_are_read(text: str, number: float | None) -> None:
    assert parse_number(text) == number


@pytest.mark.parametrize(
    ("text", "figures"),
    [
        ("seven thirty pm", "7 30 pm"),
        ("the twenty first of may", "the 21st of may"),
        ("december second", "december 2nd"),
        ("the twelfth", "the 12th"),
        ("two plus a hundred and three", "2 plus 103"),
        ("an hour and a half", "an hour and a half"),
        ("7:30", "7:30"),
    ],
)
def test_number_words_become_figures(text: str, figures: str) -> None:
    assert replace_number_words(text, with_ordinals=True) == figures


@given(st.integers(0, 99))
def test_a_spoken_number_is_read_back(number: int) -> None:
    assert parse_number(say_number(number)) == number


@given(st.integers(1, 99))
def test_a_spoken_ordinal_is_read_back(number: int) -> None:
    figures = replace_number_words(say_ordinal(number), with_ordinals=True)
    assert figures[:-2] == str(number)


@given(st.decimals(0, 10**9, places=3))
def test_figures_are_read_exactly(number: object) -> None:
    assert parse_number(str(number)) == pytest.approx(float(str(number)))


@given(st.text(max_size=60))
def test_no_text_is_an_error(text: str) -> None:
    parse_number(text)
    replace_number_words(text, with_ordinals=True)
