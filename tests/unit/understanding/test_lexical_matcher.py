from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barnabee.understanding.intent_examples import intents, sentences
from barnabee.understanding.intent_index import Band, decide
from barnabee.understanding.lexical_matcher import LIMITS, Lexicon, shared_share, words

LEXICON = Lexicon(intents())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("What's the time?", ["what", "is", "the", "time"]),
        ("I don't know; I can't!", ["i", "do", "not", "know", "i", "can", "not"]),
        ("It's 20 degrees", ["it", "is", "20", "degrees"]),
        ("", []),
        ("日本", []),
    ],
)
def test_words_are_plain(text: str, expected: list[str]) -> None:
    assert words(text) == expected


def test_an_example_is_as_near_to_itself_as_can_be() -> None:
    for name, intent in intents().items():
        for example in intent.examples:
            assert LEXICON.scores(example)[name] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("said", "intent"),
    [
        ("what time is it now", "time"),
        ("turn on the light in the kitchen", "home_control"),
        ("is the front door locked", "home_query"),
        ("can you say that again", "repeat"),
        ("thank you so very much", "thanks"),
    ],
)
def test_common_sentences_are_understood_without_embeddings(said: str, intent: str) -> None:
    found = decide(LEXICON.scores(said), intents(), LIMITS)
    assert (found.band, found.intent) == (Band.ACCEPT, intent)


def test_words_nobody_used_as_an_example_mean_nothing() -> None:
    found = decide(LEXICON.scores("purple monkey flugelhorn"), intents(), LIMITS)
    assert found.band is Band.NONE


@given(st.text(max_size=80))
def test_likeness_lies_between_0_and_1_whatever_is_said(text: str) -> None:
    assert all(-1e-9 <= score <= 1 + 1e-9 for score in LEXICON.scores(text).values())


@given(st.sampled_from(sentences(intents())), st.randoms(use_true_random=False))
def test_the_order_of_words_does_not_matter(text: str, random: st.DataObject) -> None:
    shuffled = words(text)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert LEXICON.scores(" ".join(shuffled)) == pytest.approx(LEXICON.scores(text))


@pytest.mark.parametrize(
    ("question", "fact", "share"),
    [
        ("where is the spare key", "the spare key is under the mat", 1.0),
        ("where is the spare wheel", "the spare key is under the mat", 0.5),
        ("where is it", "the spare key is under the mat", 0.0),
    ],
)
def test_a_fact_answers_by_the_telling_words_of_the_question(
    question: str, fact: str, share: float
) -> None:
    assert shared_share(question, fact) == share
