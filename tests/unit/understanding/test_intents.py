"""Intents: the example file, text cleaning, similarity scores and decisions."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from barnabee.core import system
from barnabee.understanding.intent_recognizer import (
    ConfidenceBand,
    ExampleIndex,
    Intent,
    IntentDecision,
    Thresholds,
    decide_intent,
    hash_examples,
    list_examples,
    load_intents,
)

LIMITS = Thresholds(accept=0.6, ask=0.5, margin=0.02)
KNOWN = {
    "home_control": Intent("home_control", "switch", "home", ("a", "b")),
    "home_query": Intent("home_query", "look", "home", ("c",)),
    "time": Intent("time", "tell the time", "skill", ("d",)),
    "date": Intent("date", "tell the date", "skill", ("e",)),
    "chat": Intent("chat", "talk", "llm", ("f",)),
}


def scores(**given: float) -> dict[str, float]:
    return {name: given.get(name, 0.0) for name in KNOWN}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"time": 0.6}, IntentDecision(ConfidenceBand.ACCEPT, "time", 0.6)),
        ({"time": 0.599}, IntentDecision(ConfidenceBand.ASK, "time", 0.599)),
        ({"time": 0.5}, IntentDecision(ConfidenceBand.ASK, "time", 0.5)),
        ({"time": 0.499}, IntentDecision(ConfidenceBand.NONE, "time", 0.499)),
        ({"time": 0.9, "date": 0.85}, IntentDecision(ConfidenceBand.ACCEPT, "time", 0.9)),
        ({"time": 0.9, "date": 0.89}, IntentDecision(ConfidenceBand.ASK, "time", 0.9, "date")),
        ({"time": 0.55, "date": 0.52}, IntentDecision(ConfidenceBand.ASK, "time", 0.55, "date")),
        ({"time": 0.55, "date": 0.49}, IntentDecision(ConfidenceBand.ASK, "time", 0.55)),
        ({"time": 0.7, "chat": 0.69}, IntentDecision(ConfidenceBand.ASK, "time", 0.7, "chat")),
    ],
)
def test_the_decision_follows_from_score_and_margin(
    given: dict[str, float], expected: IntentDecision
) -> None:
    assert decide_intent(scores(**given), KNOWN, LIMITS) == expected


def test_two_home_intents_are_no_tie() -> None:
    decision = decide_intent(scores(home_control=0.7, home_query=0.7), KNOWN, LIMITS)
    assert decision == IntentDecision(ConfidenceBand.ACCEPT, "home_control", 0.7)


@pytest.mark.parametrize(("home", "chat"), [(0.7, 0.71), (0.71, 0.7)])
def test_between_home_and_conversation_home_wins(home: float, chat: float) -> None:
    decision = decide_intent(scores(home_query=home, chat=chat), KNOWN, LIMITS)
    assert decision == IntentDecision(ConfidenceBand.ACCEPT, "home_query", home)


def test_the_score_is_that_of_the_most_similar_example() -> None:
    rows = np.eye(6, 384, dtype=np.float32)
    vector = (rows[1] + rows[3]) / np.sqrt(np.float32(2))
    found = ExampleIndex(KNOWN, rows).scores(vector)
    assert found == pytest.approx(scores(home_control=0.7071, time=0.7071), abs=1e-4)


@pytest.mark.parametrize("shape", [(5, 384), (7, 384), (384,)])
def test_vectors_that_do_not_fit_the_examples_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="6 examples"):
        ExampleIndex(KNOWN, np.zeros(shape, dtype=np.float32))


def test_thresholds_come_from_the_system_file() -> None:
    table = system.load_system().intent
    assert Thresholds.from_config(table) == Thresholds(
        table.accept_permille / 1000, table.ask_permille / 1000, table.margin_permille / 1000
    )


def test_every_intent_has_a_handler_and_enough_examples() -> None:
    for name, intent in load_intents().items():
        assert intent.handler in {"home", "skill", "llm"}, name
        assert len(intent.examples) >= 9, name
        assert intent.description[0].islower(), name
        assert not intent.description.endswith("."), name


def test_no_example_has_two_intents() -> None:
    counts = Counter(list_examples(load_intents()))
    assert [text for text, count in counts.items() if count > 1] == []


def test_examples_are_clean_and_lower_case() -> None:
    for text in list_examples(load_intents()):
        assert text == text.lower()
        assert text.rstrip(" .!?,;") == text


def test_the_hash_changes_with_any_example() -> None:
    one = {"a": Intent("a", "do it", "skill", ("x", "y"))}
    other = {"a": Intent("a", "do it", "skill", ("x", "z"))}
    assert hash_examples(one) == hash_examples(dict(one))
    assert hash_examples(one) != hash_examples(other)


def test_the_file_is_read_once() -> None:
    assert load_intents() is load_intents()
