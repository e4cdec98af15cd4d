from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest

from barnabee.store.sessions import Exchange
from barnabee.understanding import local_answers
from barnabee.understanding.intent_examples import intents
from barnabee.understanding.intent_index import Band, Decision


def at(hour: int, minute: int) -> datetime:
    return datetime(2026, 11, 23, hour, minute, tzinfo=UTC)


@pytest.mark.parametrize(
    ("hour", "minute", "said"),
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
def test_the_time_is_said_in_words(hour: int, minute: int, said: str) -> None:
    assert local_answers.time(at(hour, minute)) == said


def test_no_time_of_day_needs_a_digit() -> None:
    for minutes in range(24 * 60):
        said = local_answers.time(at(0, 0) + timedelta(minutes=minutes))
        assert re.fullmatch(r"It's [a-z' -]+\.", said), said


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("what day is it", "Today is Monday, November twenty-third."),
        ("what day is tomorrow", "Tomorrow is Tuesday, November twenty-fourth."),
        ("what day was yesterday", "Yesterday was Sunday, November twenty-second."),
        ("what year is it", "It's the year twenty twenty-six."),
    ],
)
def test_the_date_answers_what_was_asked(asked: str, said: str) -> None:
    assert local_answers.date(at(12, 0), asked) == said


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
    said = local_answers.date(datetime(2026, 12, day, tzinfo=UTC))
    assert said.endswith(f"December {word}.")


@pytest.mark.parametrize(
    ("year", "said"),
    [(2005, "2005"), (2010, "twenty ten"), (2026, "twenty twenty-six"), (2030, "twenty thirty")],
)
def test_years_are_said_in_pairs(year: int, said: str) -> None:
    moment = datetime(year, 1, 1, tzinfo=UTC)
    assert local_answers.date(moment, "what year is it") == f"It's the year {said}."


def test_a_greeting_suits_the_hour() -> None:
    assert local_answers.greeting(at(7, 0), "hello").startswith("Good morning")
    assert local_answers.greeting(at(13, 0), "hello").startswith("Good afternoon")
    assert local_answers.greeting(at(20, 0), "hello").startswith("Good evening")
    assert "fine" in local_answers.greeting(at(20, 0), "hello, how are you")


def test_good_night_is_answered_in_kind() -> None:
    assert local_answers.goodbye("good night") == "Good night. Sleep well."
    assert local_answers.goodbye("bye") == "Goodbye."


def test_the_last_reply_is_repeated() -> None:
    history = [Exchange("a", "first", "time"), Exchange("b", "second", "date")]
    assert local_answers.repeat(history) == "second"
    assert local_answers.repeat([]) == local_answers.NOTHING_SAID


def test_only_a_house_with_a_model_offers_to_answer_anything() -> None:
    assert local_answers.WITH_MODEL not in local_answers.capabilities(with_model=False)
    assert local_answers.WITH_MODEL in local_answers.capabilities(with_model=True)


def test_asking_back_names_what_could_be_meant() -> None:
    one = local_answers.unsure(Decision(Band.ASK, "time", 0.55), intents())
    two = local_answers.unsure(Decision(Band.ASK, "time", 0.55, "date"), intents())
    assert one == "I'm not sure I understood. Did you want me to tell you the time?"
    assert two.endswith("Did you want me to tell you the time, or tell you the date?")


def test_every_local_intent_has_an_answer() -> None:
    for name, intent in intents().items():
        if intent.to == "local" and name != "recall":
            assert local_answers.local(name, at(9, 0), "hello", [], with_model=False)
