"""Local replies: time, date, small talk, clarifying questions and failure messages."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest

from barnabee.core.errors import DependencyDown, TimedOut
from barnabee.store.sessions import Exchange
from barnabee.understanding import local_replies
from barnabee.understanding.intents import ConfidenceBand, IntentDecision, load_intents
from barnabee.understanding.local_replies import (
    _FAILURES,
    ClarifiedCommand,
    encode_question,
    get_failure_code,
    get_failure_phrase,
    resolve_answer,
)

ONE = [Exchange("the hour", "Did you want…?", "unsure time")]
TWO = [Exchange("the hour", "Did you want…?", "unsure time date")]


def at(hour: int, minute: int) -> datetime:
    return datetime(2026, 11, 23, hour, minute, tzinfo=UTC)


@pytest.mark.parametrize(
    ("hour", "minute", "reply"),
    [
        (0, 0, "It's twelve o'clock in the morning."),
        (3, 20, "It's twenty past three in the morning."),
        (9, 15, "It's quarter past nine in the morning."),
        (11, 40, "It's twenty to twelve in the morning."),
        (12, 30, "It's half past twelve in the afternoon."),
        (12, 45, "It's quarter to one in the afternoon."),
        (15, 4, "It's three oh four in the afternoon."),
        (15, 17, "It's three seventeen in the afternoon."),
        (18, 59, "It's six fifty-nine in the evening."),
        (21, 35, "It's twenty-five to ten in the evening."),
        (23, 55, "It's five to twelve at night."),
    ],
)
def test_the_time_is_told_in_words(hour: int, minute: int, reply: str) -> None:
    assert local_replies.tell_time(at(hour, minute)) == reply


def test_no_time_contains_a_digit() -> None:
    for minutes in range(24 * 60):
        reply = local_replies.tell_time(at(0, 0) + timedelta(minutes=minutes))
        assert re.fullmatch(r"It's [a-z' -]+\.", reply), reply


@pytest.mark.parametrize(
    ("question", "reply"),
    [
        ("what day is it", "Today is Monday, November twenty-third."),
        ("what day is tomorrow", "Tomorrow is Tuesday, November twenty-fourth."),
        ("what day was yesterday", "Yesterday was Sunday, November twenty-second."),
        ("what year is it", "It's the year twenty twenty-six."),
    ],
)
def test_the_date_is_that_of_the_question(question: str, reply: str) -> None:
    assert local_replies.tell_date(at(12, 0), question) == reply


@pytest.mark.parametrize(
    ("day", "word"),
    {
        1: "first",
        2: "second",
        3: "third",
        4: "fourth",
        5: "fifth",
        8: "eighth",
        9: "ninth",
        11: "eleventh",
        12: "twelfth",
        20: "twentieth",
        21: "twenty-first",
        29: "twenty-ninth",
        30: "thirtieth",
        31: "thirty-first",
    }.items(),
)
def test_days_of_the_month_are_ordinals(day: int, word: str) -> None:
    reply = local_replies.tell_date(datetime(2026, 12, day, tzinfo=UTC))
    assert reply.endswith(f"December {word}.")


@pytest.mark.parametrize(
    ("year", "words"),
    [(2005, "2005"), (2010, "twenty ten"), (2026, "twenty twenty-six"), (2030, "twenty thirty")],
)
def test_years_are_told_in_pairs(year: int, words: str) -> None:
    moment = datetime(year, 1, 1, tzinfo=UTC)
    assert local_replies.tell_date(moment, "what year is it") == f"It's the year {words}."


def test_the_greeting_depends_on_the_time_of_day() -> None:
    assert local_replies.greet(at(7, 0), "hello").startswith("Good morning")
    assert local_replies.greet(at(13, 0), "hello").startswith("Good afternoon")
    assert local_replies.greet(at(20, 0), "hello").startswith("Good evening")
    assert "fine" in local_replies.greet(at(20, 0), "hello, how are you")


def test_good_night_has_a_reply_of_its_own() -> None:
    assert local_replies.say_goodbye("good night") == "Good night. Sleep well."
    assert local_replies.say_goodbye("bye") == "Goodbye."


def test_the_last_reply_is_repeated() -> None:
    history = [Exchange("a", "first", "time"), Exchange("b", "second", "date")]
    assert local_replies.repeat_reply(history) == "second"
    assert local_replies.repeat_reply([]) == local_replies.NOTHING_SAID


def test_only_with_a_model_general_questions_are_offered() -> None:
    assert local_replies.WITH_MODEL not in local_replies.describe_capabilities(with_model=False)
    assert local_replies.WITH_MODEL in local_replies.describe_capabilities(with_model=True)


def test_a_clarifying_question_names_the_possible_intents() -> None:
    one = local_replies.ask_clarification(
        IntentDecision(ConfidenceBand.ASK, "time", 0.55), load_intents()
    )
    two = local_replies.ask_clarification(
        IntentDecision(ConfidenceBand.ASK, "time", 0.55, "date"), load_intents()
    )
    assert one == "I'm not sure I understood. Did you want me to tell you the time?"
    assert two.endswith("Did you want me to tell you the time, or tell you the date?")


def test_every_local_intent_has_a_reply() -> None:
    for name, intent in load_intents().items():
        if intent.handler == "local" and name != "recall":
            assert local_replies.answer_locally(name, at(9, 0), "hello", [], with_model=False)


@pytest.mark.parametrize(
    ("text", "history", "expected"),
    [
        ("yes", ONE, ClarifiedCommand("the hour", "time")),
        ("Yes please", ONE, ClarifiedCommand("the hour", "time")),
        ("no", ONE, ClarifiedCommand("no", "cancel")),
        ("yes", TWO, None),
        ("the first one", TWO, ClarifiedCommand("the hour", "time")),
        ("the second", TWO, ClarifiedCommand("the hour", "date")),
        ("the second", ONE, None),
        ("neither", TWO, ClarifiedCommand("neither", "cancel")),
        ("turn on the light", TWO, None),
        ("yes", [], None),
        ("yes", [Exchange("x", "y", "time")], None),
        ("yes", [*ONE, Exchange("x", "y", "time")], None),
    ],
)
def test_an_answer_is_resolved_only_directly_after_the_question(
    text: str, history: list[Exchange], expected: ClarifiedCommand | None
) -> None:
    assert resolve_answer(text, history) == expected


def test_a_question_is_stored_with_the_offered_intents() -> None:
    assert encode_question(IntentDecision(ConfidenceBand.ASK, "time", 0.5)) == "unsure time"
    assert (
        encode_question(IntentDecision(ConfidenceBand.ASK, "time", 0.5, "date"))
        == "unsure time date"
    )


def test_every_failure_phrase_can_be_spoken() -> None:
    for phrase in _FAILURES.values():
        assert phrase.endswith(".")
        assert len(phrase) < 120
        assert not set(phrase) & set("{}[]_/:;<>")


def test_an_unknown_code_gets_the_phrase_of_a_failed_dependency() -> None:
    assert get_failure_phrase("home_assistant", "unknown_code") == get_failure_phrase(
        "home_assistant", "dependency_down"
    )


def test_an_unknown_dependency_gets_a_general_phrase() -> None:
    assert get_failure_phrase("toaster", "on_fire").endswith("Please try again.")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (DependencyDown(dependency="home_assistant", reason="x"), "dependency_down"),
        (DependencyDown(dependency="home_assistant", reason="x", sent=True), "dropped"),
        (TimedOut(what="x", limit_ms=1), "timed_out"),
    ],
)
def test_a_failure_after_sending_has_the_code_dropped(
    error: DependencyDown | TimedOut, code: str
) -> None:
    assert get_failure_code(error) == code
