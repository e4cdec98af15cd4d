from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barnabee.gpu.phrases import FIRST_MAX_CHARS, LATER_MAX_CHARS, MIN_CHARS, split_phrases


def texts(text: str) -> list[str]:
    return [phrase.text for phrase in split_phrases(text)]


def test_short_text_is_one_phrase_without_a_pause() -> None:
    (only,) = split_phrases("The kitchen light is on.")
    assert (only.text, only.pause_s) == ("The kitchen light is on.", 0.0)


def test_sentences_are_phrases_with_pauses_between() -> None:
    first, second = split_phrases("It is seven. Good morning!")
    assert (first.text, second.text) == ("It is seven.", "Good morning!")
    assert first.pause_s > second.pause_s == 0.0


def test_long_first_sentence_starts_with_a_short_phrase() -> None:
    text = "The kitchen light is on now, the living room lamp is off, and so the house is quiet."
    first, *rest = texts(text)
    assert first == "The kitchen light is on now,"
    assert rest == ["the living room lamp is off, and so the house is quiet."]


def test_first_phrase_may_end_before_a_conjunction() -> None:
    first, *_ = texts("I have switched the kitchen light off and turned the heating down for you")
    assert first == "I have switched the kitchen light off"


def test_later_sentences_stay_whole() -> None:
    later = "The weather tomorrow will be sunny in the morning, with some clouds in the afternoon."
    assert texts(f"Sure. {later}") == ["Sure.", later]


@pytest.mark.parametrize(
    "text",
    ["Mr. Smith called.", "It costs 3.50 dollars.", "At 7:42 it rains.", '"Yes." He said no.'],
)
def test_abbreviations_and_numbers_do_not_end_a_sentence(text: str) -> None:
    assert texts(text) == ([text] if text[0] != '"' else ['"Yes."', "He said no."])


def test_blank_text_has_no_phrases() -> None:
    assert split_phrases(" \n ") == []


@given(st.text(alphabet='abc ,.;!?"\n\u2014\u2019', max_size=1500))
def test_no_text_is_lost_and_no_phrase_is_too_long(text: str) -> None:
    got = texts(text)
    assert "".join(re.sub(r"\s", "", part) for part in got) == re.sub(r"\s", "", text)
    assert all(len(part) <= LATER_MAX_CHARS + MIN_CHARS * 2 + FIRST_MAX_CHARS for part in got)
    assert all(part == part.strip() and part for part in got)
