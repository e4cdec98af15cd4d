from __future__ import annotations

import pytest

from barnabee.testing.gpu import vector
from barnabee.understanding.facts import asked, nearest, told
from barnabee.understanding.interfaces import KnownFact

KEY = "the spare key is under the mat"
BINS = "the bins go out on tuesday"


@pytest.mark.parametrize(
    ("said", "fact"),
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
def test_what_is_to_be_remembered_is_told_by_how_it_begins(said: str, fact: str | None) -> None:
    assert told(said) == fact


@pytest.mark.parametrize(
    ("said", "expected"),
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
def test_a_question_about_what_was_told_is_known_by_how_it_begins(
    said: str, *, expected: bool
) -> None:
    assert asked(said) is expected


def test_the_nearest_fact_answers() -> None:
    known = [KnownFact(text, vector(text)) for text in (KEY, BINS)]
    found = nearest("where is the spare key", vector("the spare key is where"), known, least=0.5)
    assert found is not None
    assert found.text == KEY


def test_a_fact_that_is_not_near_enough_answers_nothing() -> None:
    known = [KnownFact(KEY, vector(KEY))]
    assert nearest("why is the sky blue", vector("why is the sky blue"), known, least=0.5) is None


def test_words_decide_where_a_vector_is_missing() -> None:
    known = [KnownFact(KEY, None), KnownFact(BINS, vector(BINS))]
    for asked_with in (None, vector("where is the spare key")):
        found = nearest("where is the spare key", asked_with, known, least=0.9)
        assert found is not None
        assert found.text == KEY


def test_what_was_told_last_counts() -> None:
    known = [KnownFact("the key is here", None), KnownFact("the key is there", None)]
    found = nearest("where is the key", None, known, least=0.5)
    assert found == known[1]


def test_nothing_told_answers_nothing() -> None:
    assert nearest("where is the key", None, [], least=0.5) is None


def test_a_vector_of_another_model_is_no_likeness_so_words_decide() -> None:
    import numpy as np  # noqa: PLC0415 - one use

    known = [KnownFact("the spare key is under the blue pot", np.ones(4, np.float32))]
    question = "where is the spare key under the pot"
    assert nearest(question, np.ones(3, np.float32), known, least=0.5) is known[0]
