"""Evaluation of intent recognition: verdicts and shares."""

from __future__ import annotations

import pytest

from barnabee.understanding.intent_recognizer import ConfidenceBand, Intent, IntentDecision
from support.intent_evaluation import evaluate_sentences

INTENTS = {
    "home_control": Intent("home_control", "switch", "home", ("a",)),
    "home_query": Intent("home_query", "look", "home", ("b",)),
    "time": Intent("time", "tell the time", "skill", ("c",)),
    "remember": Intent("remember", "remember", "skill", ("d",)),
    "recall": Intent("recall", "recall", "skill", ("e",)),
    "chat": Intent("chat", "talk", "llm", ("f",)),
}


@pytest.mark.parametrize(
    ("label", "band", "intent", "alternative", "kind"),
    [
        ("time", ConfidenceBand.ACCEPT, "time", None, "right"),
        ("time", ConfidenceBand.ASK, "time", None, "asked"),
        ("time", ConfidenceBand.ASK, "recall", "time", "asked"),
        ("time", ConfidenceBand.ASK, "recall", None, "wrong"),
        ("time", ConfidenceBand.NONE, "time", None, "missed"),
        ("time", ConfidenceBand.ACCEPT, "chat", None, "missed"),
        ("time", ConfidenceBand.ACCEPT, "home_query", None, "wrong"),
        ("home_control", ConfidenceBand.ACCEPT, "home_query", None, "right"),
        ("recall", ConfidenceBand.NONE, "time", None, "right"),
        ("chat", ConfidenceBand.NONE, "time", None, "right"),
        ("none", ConfidenceBand.ACCEPT, "chat", None, "right"),
        ("none", ConfidenceBand.ACCEPT, "time", None, "wrong"),
        ("none", ConfidenceBand.ASK, "time", None, "asked"),
        ("none", ConfidenceBand.ACCEPT, "home_control", None, "passed"),
    ],
)
def test_the_verdict_follows_from_label_and_decision(
    label: str, band: ConfidenceBand, intent: str, alternative: str | None, kind: str
) -> None:
    decision = IntentDecision(band, intent, 0.7, alternative)
    result = evaluate_sentences([(label, "x")], lambda _: decision, INTENTS)
    assert result.verdicts[0].kind == kind


@pytest.mark.parametrize(
    ("label", "text", "kind"),
    [
        ("remember", "remember that x is y", "right"),
        ("none", "remember that x is y", "wrong"),
        ("recall", "do you remember x", "right"),
        ("chat", "do you remember x", "wrong"),
    ],
)
def test_fact_sentences_are_judged_by_their_beginning(label: str, text: str, kind: str) -> None:
    nothing = IntentDecision(ConfidenceBand.NONE, "time", 0.0)
    assert evaluate_sentences([(label, text)], lambda _: nothing, INTENTS).verdicts[0].kind == kind


def test_commands_and_conversation_have_separate_shares() -> None:
    accept = IntentDecision(ConfidenceBand.ACCEPT, "time", 0.9)
    sentences = [("time", "a"), ("recall", "b"), ("none", "c")]
    row = evaluate_sentences(sentences, lambda _: accept, INTENTS).row()
    assert (row["commands right"], row["commands wrong"]) == (0.5, 0.5)
    assert row["conversation wrong"] == 1.0
