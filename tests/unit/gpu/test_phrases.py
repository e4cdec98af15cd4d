from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barnabee.gpu.engines.kokoro import HEAD_S
from barnabee.gpu.phrases import (
    CLAUSE_PAUSE_S,
    END_PAUSE_S,
    FIRST_MAX_CHARS,
    JOINED_MAX_CHARS,
    LATER_MAX_CHARS,
    SENTENCE_PAUSE_S,
    WORD_PAUSE_S,
    split_phrases,
)

MAX_GAP_S = 0.15
NUMBER = "one million two hundred and thirty-four thousand five hundred and sixty-seven"


def texts(text: str) -> list[str]:
    return [phrase.text for phrase in split_phrases(text)]


def test_short_text_is_one_phrase() -> None:
    (only,) = split_phrases("The kitchen light is on.")
    assert (only.text, only.pause_s) == ("The kitchen light is on.", END_PAUSE_S)


def test_sentences_are_phrases_with_pauses_between() -> None:
    first, second = split_phrases("It is seven. Good morning!")
    assert (first.text, second.text) == ("It is seven.", "Good morning!")
    assert (first.pause_s, second.pause_s) == (SENTENCE_PAUSE_S, END_PAUSE_S)


def test_gaps_are_short() -> None:
    longest_s = max(SENTENCE_PAUSE_S, CLAUSE_PAUSE_S, WORD_PAUSE_S, END_PAUSE_S)
    assert longest_s + HEAD_S <= MAX_GAP_S


def test_long_first_sentence_starts_with_a_short_phrase() -> None:
    text = "The kitchen light is on now, the living room lamp is off, and so the house is quiet."
    first, *rest = texts(text)
    assert first == "The kitchen light is on now,"
    assert rest == ["the living room lamp is off, and so the house is quiet."]


def test_first_phrase_may_end_before_a_conjunction() -> None:
    first, *_ = texts("I have switched the kitchen light off and turned the heating down for you")
    assert first == "I have switched the kitchen light off"


def test_a_long_sentence_is_divided_at_its_comma() -> None:
    later = "The weather tomorrow will be sunny in the morning, with some clouds in the afternoon."
    head, comma, tail = later.partition(", ")
    assert texts(f"Sure. {later}") == ["Sure.", f"{head}{comma.strip()}", tail]


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        (
            f"The sum that you asked me about is {NUMBER}.",
            NUMBER,
        ),
        ("We shall meet at the crossing of Saint Mary Street and the Park", "Saint Mary Street"),
        (
            "I would like to tell you now that Emma Charlotte Watson is here",
            "Emma Charlotte Watson",
        ),
        (
            "It will take the train to the coast about seven hundred kilometers",
            "hundred kilometers",
        ),
    ],
)
def test_numbers_and_names_stay_whole(text: str, whole: str) -> None:
    assert len(texts(text)) > 1
    assert any(whole in phrase for phrase in texts(text)), texts(text)


@pytest.mark.parametrize(
    "text",
    ["Mr. Smith called.", "It costs 3.50 dollars.", "At 7:42 it rains.", "at 7 a.m. tomorrow"],
)
def test_abbreviations_and_numbers_do_not_end_a_sentence(text: str) -> None:
    assert texts(text) == [text]


def test_pauses_are_kept_as_silence() -> None:
    assert [(one.text, one.pause_s) for one in split_phrases("[pause:1s] Go [pause:0.5s] on")] == [
        ("", 1.0),
        ("Go", 0.5 + END_PAUSE_S),
        ("on", END_PAUSE_S),
    ]


def test_slow_speech_has_shorter_phrases() -> None:
    text = "I have switched the kitchen light off and turned the heating down for you"
    assert len(split_phrases(text, speed=0.5)) > len(split_phrases(text))


def test_blank_text_has_no_phrases() -> None:
    assert split_phrases(" \n ") == []


@given(st.text(alphabet='abc ,.;!?"\n\u2014\u2019', max_size=1500))
def test_no_word_is_lost_and_no_phrase_is_too_long(text: str) -> None:
    got = texts(text)
    letters = [re.sub(r"[^abc]", "", part) for part in ("".join(got), text)]
    assert letters[0] == letters[1]
    assert all(len(part) <= JOINED_MAX_CHARS or " " not in part for part in got)
    assert all(part == part.strip() and part for part in got)
    assert FIRST_MAX_CHARS < LATER_MAX_CHARS < JOINED_MAX_CHARS
