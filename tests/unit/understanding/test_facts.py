"""Facts: recognition of sentences to remember and to recall, and retrieval."""

from __future__ import annotations

import numpy as np
import pytest

from barnabee.testing.engines import make_vector
from barnabee.understanding.facts import extract_fact, find_fact, is_recall_question
from barnabee.understanding.interfaces import KnownFact

KEY = "the spare key is under the mat"
BINS = "the bins go out on tuesday"


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        ("remember that the spare key is under the mat", KEY),
        ("Remember the spare key is under the mat", KEY),
        ("please remember that the bins go out on tuesday", BINS),
        ("can you remember that the bins go out on tuesday", BINS),
        ("make a note that the bins go out on tuesday", BINS),
        ("take a note, the bins go out on tuesday", BINS),
        ("note down that the bins go out on tuesday", BINS),
        ("keep in mind that the bins go out on tuesday", BINS),
        ("don't forget the bins go out on tuesday", BINS),
        ("I want you to remember that the bins go out on tuesday", BINS),
        ("save this, the bins go out on tuesday", BINS),
        ("remember: the bins go out on tuesday", BINS),
        ("remember", None),
        ("remember that", None),
        ("remember this for me", None),
        ("remember when we went camping", None),
        ("do you remember where the key is", None),
        ("i remember when we used to go camping", None),
        ("turn on the kitchen light", None),
        ("", None),
    ],
)
def test_a_sentence_to_remember_is_recognized_by_its_beginning(text: str, fact: str | None) -> None:
    assert extract_fact(text) == fact


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("what did i tell you about the boiler", True),
        ("do you remember where the key is", True),
        ("where did we put the ladder", True),
        ("what do you know about my car", True),
        ("remind me where the key is", True),
        ("remind me to call grandma", False),
        ("what do you know about dinosaurs", False),
        ("where is the key", False),
    ],
)
def test_a_recall_question_is_recognized_by_its_beginning(text: str, *, expected: bool) -> None:
    assert is_recall_question(text) is expected


def test_the_most_similar_fact_is_found() -> None:
    known = [KnownFact(text, make_vector(text)) for text in (KEY, BINS)]
    found = find_fact(
        "where is the spare key", make_vector("the spare key is where"), known, min_score=0.5
    )
    assert found is not None
    assert found.text == KEY


def test_a_fact_below_the_minimum_score_is_not_found() -> None:
    known = [KnownFact(KEY, make_vector(KEY))]
    assert (
        find_fact("why is the sky blue", make_vector("why is the sky blue"), known, min_score=0.5)
        is None
    )


def test_words_decide_if_a_vector_is_missing() -> None:
    known = [KnownFact(KEY, None), KnownFact(BINS, make_vector(BINS))]
    for vector in (None, make_vector("where is the spare key")):
        found = find_fact("where is the spare key", vector, known, min_score=0.9)
        assert found is not None
        assert found.text == KEY


def test_of_equal_facts_the_last_one_is_found() -> None:
    known = [KnownFact("the key is here", None), KnownFact("the key is there", None)]
    found = find_fact("where is the key", None, known, min_score=0.5)
    assert found == known[1]


def test_without_facts_none_is_found() -> None:
    assert find_fact("where is the key", None, [], min_score=0.5) is None


def test_words_decide_if_the_vectors_have_different_sizes() -> None:
    known = [KnownFact("the spare key is under the blue pot", np.ones(4, np.float32))]
    question = "where is the spare key under the pot"
    assert find_fact(question, np.ones(3, np.float32), known, min_score=0.5) is known[0]
