from __future__ import annotations

from collections import Counter

import pytest

from barnabee.understanding import intent_examples
from barnabee.understanding.intent_examples import Intent, fingerprint, intents, sentences, tidy


def test_every_intent_has_a_place_to_go_and_enough_examples() -> None:
    for name, intent in intents().items():
        assert intent.to in {"home", "local", "llm"}, name
        assert len(intent.examples) >= 9, name
        assert intent.does[0].islower(), name
        assert not intent.does.endswith("."), name


def test_no_example_stands_under_two_intents() -> None:
    seen = Counter(sentences(intents()))
    assert [text for text, count in seen.items() if count > 1] == []


def test_examples_are_in_the_form_sentences_are_compared_in() -> None:
    for text in sentences(intents()):
        assert text == text.lower()
        assert text.rstrip(" .!?,;") == text


def test_the_fingerprint_changes_with_any_example() -> None:
    one = {"a": Intent("a", "do it", "local", ("x", "y"))}
    other = {"a": Intent("a", "do it", "local", ("x", "z"))}
    assert fingerprint(one) == fingerprint(dict(one))
    assert fingerprint(one) != fingerprint(other)


@pytest.mark.parametrize(
    ("said", "compared"),
    [
        ("Turn on the kitchen light.", "Turn on the kitchen light"),
        ("Hey Barnabee, turn on the light!", "turn on the light"),
        ("barnaby turn on the light", "turn on the light"),
        ("turn on the light please", "turn on the light"),
        ("please turn on the light, please.", "turn on the light"),
        ("turn on the light, Barnabee", "turn on the light"),
        ("  turn \t on\nthe   light  ", "turn on the light"),
        ("what\u2019s the time?", "what's the time"),
        ("Barnabee", "Barnabee"),
        ("Please.", "Please"),
        ("hello barnabee", "hello"),
        ("?!", "?!"),
        ("", ""),
    ],
)
def test_a_sentence_loses_name_please_and_full_stop_but_never_everything(
    said: str, compared: str
) -> None:
    assert tidy(said) == compared


def test_the_file_is_read_once() -> None:
    assert intent_examples.intents() is intent_examples.intents()
