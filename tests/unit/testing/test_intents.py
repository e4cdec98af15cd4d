from __future__ import annotations

import pytest

from barnabee.testing.intents import judge
from barnabee.understanding.intent_examples import Intent
from barnabee.understanding.intent_index import Band, Decision

KNOWN = {
    "home_control": Intent("home_control", "switch", "home", ("a",)),
    "home_query": Intent("home_query", "look", "home", ("b",)),
    "time": Intent("time", "tell the time", "local", ("c",)),
    "remember": Intent("remember", "remember", "local", ("d",)),
    "recall": Intent("recall", "recall", "local", ("e",)),
    "chat": Intent("chat", "talk", "llm", ("f",)),
}


@pytest.mark.parametrize(
    ("label", "band", "intent", "other", "kind"),
    [
        ("time", Band.ACCEPT, "time", None, "right"),
        ("time", Band.ASK, "time", None, "asked"),
        ("time", Band.ASK, "recall", "time", "asked"),
        ("time", Band.ASK, "recall", None, "wrong"),
        ("time", Band.NONE, "time", None, "missed"),
        ("time", Band.ACCEPT, "chat", None, "missed"),
        ("time", Band.ACCEPT, "home_query", None, "wrong"),
        ("home_control", Band.ACCEPT, "home_query", None, "right"),
        ("recall", Band.NONE, "time", None, "right"),
        ("chat", Band.NONE, "time", None, "right"),
        ("none", Band.ACCEPT, "chat", None, "right"),
        ("none", Band.ACCEPT, "time", None, "wrong"),
        ("none", Band.ASK, "time", None, "asked"),
        ("none", Band.ACCEPT, "home_control", None, "passed"),
    ],
)
def test_a_verdict_follows_from_label_and_decision(
    label: str, band: Band, intent: str, other: str | None, kind: str
) -> None:
    decision = Decision(band, intent, 0.7, other)
    tally = judge([(label, "x")], lambda _: decision, KNOWN)
    assert tally.verdicts[0].kind == kind


@pytest.mark.parametrize(
    ("label", "text", "kind"),
    [
        ("remember", "remember that x is y", "right"),
        ("none", "remember that x is y", "wrong"),
        ("recall", "do you remember x", "right"),
        ("chat", "do you remember x", "wrong"),
    ],
)
def test_the_beginnings_that_settle_a_sentence_count_too(label: str, text: str, kind: str) -> None:
    nothing = Decision(Band.NONE, "time", 0.0)
    assert judge([(label, text)], lambda _: nothing, KNOWN).verdicts[0].kind == kind


def test_shares_are_of_commands_and_of_conversation_apart() -> None:
    accept = Decision(Band.ACCEPT, "time", 0.9)
    sentences = [("time", "a"), ("recall", "b"), ("none", "c")]
    row = judge(sentences, lambda _: accept, KNOWN).row()
    assert (row["commands right"], row["commands wrong"]) == (0.5, 0.5)
    assert row["conversation wrong"] == 1.0
