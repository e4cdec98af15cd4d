"""Lexical matching: words, scores and word overlap."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barnabee.understanding.intent_recognizer import (
    LEXICAL_THRESHOLDS,
    ConfidenceBand,
    LexicalIndex,
    decide_intent,
    list_examples,
    load_intents,
    split_words,
)

INDEX = LexicalIndex(load_intents())


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
def test_words_are_split_and_expanded(text: str, expected: list[str]) -> None:
    assert split_words(text) == expected


def test_an_example_has_score_1_for_its_own_intent() -> None:
    for name, intent in load_intents().items():
        for example in intent.examples:
            assert INDEX.scores(example)[name] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("text", "intent"),
    [
        ("what time is it now", "time"),
        ("turn on the light in the kitchen", "home_control"),
        ("is the front door locked", "home_query"),
        ("can you say that again", "repeat"),
        ("thank you so very much", "thanks"),
    ],
)
def test_common_sentences_are_recognized_without_embeddings(text: str, intent: str) -> None:
    decision = decide_intent(INDEX.scores(text), load_intents(), LEXICAL_THRESHOLDS)
    assert (decision.band, decision.intent) == (ConfidenceBand.ACCEPT, intent)


def test_unknown_words_have_no_intent() -> None:
    decision = decide_intent(
        INDEX.scores("purple monkey flugelhorn"), load_intents(), LEXICAL_THRESHOLDS
    )
    assert decision.band is ConfidenceBand.NONE


@pytest.mark.parametrize("text", ["a lot louder", "good ideas for the evening"])
def test_small_talk_has_no_unknown_words(text: str) -> None:
    decision = decide_intent(INDEX.scores(text), load_intents(), LEXICAL_THRESHOLDS)
    assert decision.intent not in {"thanks", "greeting"}


@given(st.text(max_size=80))
def test_scores_are_between_0_and_1(text: str) -> None:
    assert all(-1e-9 <= score <= 1 + 1e-9 for score in INDEX.scores(text).values())


@given(st.sampled_from(list_examples(load_intents())), st.randoms(use_true_random=False))
def test_the_order_of_words_does_not_matter(text: str, random: st.DataObject) -> None:
    shuffled = split_words(text)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert INDEX.scores(" ".join(shuffled)) == pytest.approx(INDEX.scores(text))
