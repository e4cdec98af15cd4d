"""Which notes answer a question, and which one a new note replaces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barnabee.understanding.interfaces import KnownFact
from barnabee.understanding.note_subjects import (
    choose_similar,
    extract_words,
    find_loosely,
    find_notes,
    find_replaced,
    parse_statement,
)
from support.fake_engines import make_vector


def make_notes(*texts: str) -> list[KnownFact]:
    return [KnownFact(text, None, str(number)) for number, text in enumerate(texts)]


@pytest.mark.parametrize(
    ("old", "new", "is_replaced"),
    [
        ("the gate code is 1234", "the new gate code is 5678", True),
        ("grandma's birthday is on May fifth", "grandma's birthday is on May sixth", True),
        ("the car is in the garage", "the car is on the street", True),
        ("the car is in the garage", "the car is red", False),
        ("Emma is allergic to nuts", "Emma is allergic to eggs", False),
        ("the gate code is 1234", "the alarm code is 5678", False),
        ("the gate code is 1234", "the bins go out on tuesday", False),
    ],
)
def test_a_note_replaces_one_of_the_same_subject(old: str, new: str, *, is_replaced: bool) -> None:
    statement = parse_statement(new)
    found = find_replaced(statement, make_notes(old)) if statement else None
    assert (found is not None) is is_replaced


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("keys", "key"),
        ("arrives", "arriving"),
        ("parked", "park"),
        ("batteries", "battery"),
        ("mom's", "mum"),
        ("twenty first", "21st"),
        ("wi-fi", "wifi"),
    ],
)
def test_forms_of_a_word_are_one(first: str, second: str) -> None:
    assert extract_words(first) == extract_words(second)


def test_the_newest_note_comes_first() -> None:
    found = find_notes("what does Emma like", make_notes("Emma likes tea", "Emma likes cake"))
    assert [note.text for note in found] == ["Emma likes cake", "Emma likes tea"]


def test_another_verb_needs_a_similar_embedding() -> None:
    text = "my sister arrives on saturday at noon"
    notes = [KnownFact(text, make_vector(text))]
    assert find_notes("when does my sister come", notes) == []
    candidates = find_loosely("when does my sister come", notes)
    assert choose_similar(make_vector(text), candidates) == notes
    assert choose_similar(make_vector("why is the sky blue"), candidates) == []
    assert find_loosely("when does my brother come", notes) == []


@given(st.text(max_size=80), st.text(max_size=80))
def test_no_text_is_an_error(question: str, note: str) -> None:
    notes = make_notes(note)
    for found in (find_notes(question, notes), find_loosely(question, notes)):
        assert found in ([], notes)
    parse_statement(note)
