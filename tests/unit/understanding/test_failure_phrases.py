from __future__ import annotations

import pytest

from barnabee.core.errors import DependencyDown, TimedOut
from barnabee.understanding.failure_phrases import _SPOKEN, code_of, spoken


def test_every_phrase_can_be_spoken() -> None:
    for phrase in _SPOKEN.values():
        assert phrase.endswith(".")
        assert len(phrase) < 120
        assert not set(phrase) & set("{}[]_/:;<>")


def test_a_failure_without_a_phrase_of_its_own_says_that_the_dependency_is_away() -> None:
    assert spoken("home_assistant", "never_heard_of") == spoken("home_assistant", "dependency_down")


def test_an_unknown_dependency_still_gets_a_sentence() -> None:
    assert spoken("toaster", "on_fire").endswith("Please try again.")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (DependencyDown(dependency="home_assistant", reason="x"), "dependency_down"),
        (DependencyDown(dependency="home_assistant", reason="x", sent=True), "dropped"),
        (TimedOut(what="x", limit_ms=1), "timed_out"),
    ],
)
def test_a_request_that_had_gone_out_may_have_been_carried_out(
    error: DependencyDown | TimedOut, code: str
) -> None:
    assert code_of(error) == code
