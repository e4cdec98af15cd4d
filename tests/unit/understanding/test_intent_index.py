from __future__ import annotations

import numpy as np
import pytest

from barnabee.core import system
from barnabee.understanding.intent_examples import Intent
from barnabee.understanding.intent_index import Band, Decision, Index, Thresholds, decide

LIMITS = Thresholds(accept=0.6, ask=0.5, margin=0.02)
KNOWN = {
    "home_control": Intent("home_control", "switch", "home", ("a", "b")),
    "home_query": Intent("home_query", "look", "home", ("c",)),
    "time": Intent("time", "tell the time", "local", ("d",)),
    "date": Intent("date", "tell the date", "local", ("e",)),
    "chat": Intent("chat", "talk", "llm", ("f",)),
}


def scores(**given: float) -> dict[str, float]:
    return {name: given.get(name, 0.0) for name in KNOWN}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"time": 0.6}, Decision(Band.ACCEPT, "time", 0.6)),
        ({"time": 0.599}, Decision(Band.ASK, "time", 0.599)),
        ({"time": 0.5}, Decision(Band.ASK, "time", 0.5)),
        ({"time": 0.499}, Decision(Band.NONE, "time", 0.499)),
        ({"time": 0.9, "date": 0.85}, Decision(Band.ACCEPT, "time", 0.9)),
        ({"time": 0.9, "date": 0.89}, Decision(Band.ASK, "time", 0.9, "date")),
        ({"time": 0.55, "date": 0.52}, Decision(Band.ASK, "time", 0.55, "date")),
        ({"time": 0.55, "date": 0.49}, Decision(Band.ASK, "time", 0.55)),
        ({"time": 0.7, "chat": 0.69}, Decision(Band.ASK, "time", 0.7, "chat")),
    ],
)
def test_a_decision_follows_from_score_and_distance(
    given: dict[str, float], expected: Decision
) -> None:
    assert decide(scores(**given), KNOWN, LIMITS) == expected


def test_an_order_and_a_question_to_the_house_are_no_tie() -> None:
    found = decide(scores(home_control=0.7, home_query=0.7), KNOWN, LIMITS)
    assert found == Decision(Band.ACCEPT, "home_control", 0.7)


@pytest.mark.parametrize(("home", "chat"), [(0.7, 0.71), (0.71, 0.7)])
def test_between_house_and_conversation_the_house_is_asked_first(home: float, chat: float) -> None:
    found = decide(scores(home_query=home, chat=chat), KNOWN, LIMITS)
    assert found == Decision(Band.ACCEPT, "home_query", home)


def test_an_intent_scores_by_its_nearest_example() -> None:
    rows = np.eye(6, 384, dtype=np.float32)
    asked = (rows[1] + rows[3]) / np.sqrt(np.float32(2))
    found = Index(KNOWN, rows).scores(asked)
    assert found == pytest.approx(scores(home_control=0.7071, time=0.7071), abs=1e-4)


@pytest.mark.parametrize("shape", [(5, 384), (7, 384), (384,)])
def test_vectors_that_do_not_fit_the_examples_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="6 examples"):
        Index(KNOWN, np.zeros(shape, dtype=np.float32))


def test_thresholds_come_from_the_system_file() -> None:
    table = system.load().intent
    assert Thresholds.of(table) == Thresholds(
        table.accept_permille / 1000, table.ask_permille / 1000, table.margin_permille / 1000
    )
