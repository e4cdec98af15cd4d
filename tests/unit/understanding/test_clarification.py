from __future__ import annotations

import pytest

from barnabee.store.sessions import Exchange
from barnabee.understanding.clarification import Cleared, asked, cleared
from barnabee.understanding.intent_index import Band, Decision

ONE = [Exchange("the hour", "Did you want…?", "unsure time")]
TWO = [Exchange("the hour", "Did you want…?", "unsure time date")]


@pytest.mark.parametrize(
    ("said", "history", "expected"),
    [
        ("yes", ONE, Cleared("the hour", "time")),
        ("Yes please", ONE, Cleared("the hour", "time")),
        ("no", ONE, Cleared("no", "cancel")),
        ("yes", TWO, None),
        ("the first one", TWO, Cleared("the hour", "time")),
        ("the second", TWO, Cleared("the hour", "date")),
        ("the second", ONE, None),
        ("neither", TWO, Cleared("neither", "cancel")),
        ("turn on the light", TWO, None),
        ("yes", [], None),
        ("yes", [Exchange("x", "y", "time")], None),
        ("yes", [*ONE, Exchange("x", "y", "time")], None),
    ],
)
def test_an_answer_counts_only_right_after_the_question(
    said: str, history: list[Exchange], expected: Cleared | None
) -> None:
    assert cleared(said, history) == expected


def test_a_question_is_kept_with_what_it_offers() -> None:
    assert asked(Decision(Band.ASK, "time", 0.5)) == "unsure time"
    assert asked(Decision(Band.ASK, "time", 0.5, "date")) == "unsure time date"
