"""What the house answers by itself: time and date in words, small talk, asking back.

Pure; the clock is given. The sentences are spoken, so numbers are words and lists are short.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta

from barnabee.understanding.intent_examples import Intent
from barnabee.understanding.intent_index import Decision
from barnabee.understanding.interfaces import Said
from barnabee.understanding.lexical_matcher import words

CAPABILITIES = (
    "I can switch things in the house, tell you how they are, tell you the time and date, "
    "remember things for you, and repeat what I said."
)
WITH_MODEL = " You can also ask me about anything else."
NOTHING_SAID = "I haven't said anything yet."
WHAT_FACT = "What should I remember? Say: remember that, and then what it is."
NOT_TOLD = "You haven't told me that."
CANCELLED = "Okay."

_ONES = (
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
)
_TENS = ("zero", "ten", "twenty", "thirty", "forty", "fifty")
_ORDINALS = {"one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth"}
_ORDINALS |= {"nine": "ninth", "twelve": "twelfth", "twenty": "twentieth", "thirty": "thirtieth"}
_TWENTY, _HALF, _HOUR, _NOON, _EVENING, _NIGHT = 20, 30, 60, 12, 18, 22
_ROUND = {0: "", 15: "quarter", _HALF: "half"}


def local(
    intent: str, now: datetime, utterance: str, history: Sequence[Said], *, with_model: bool
) -> str:
    """Return the answer to an intent that needs nothing but the clock and the conversation."""
    replies: dict[str, Callable[[], str]] = {
        "time": lambda: time(now),
        "date": lambda: date(now, utterance),
        "capabilities": lambda: capabilities(with_model=with_model),
        "repeat": lambda: repeat(history),
        "remember": lambda: WHAT_FACT,
        "greeting": lambda: greeting(now, utterance),
        "thanks": thanks,
        "goodbye": lambda: goodbye(utterance),
        "cancel": lambda: CANCELLED,
    }
    return replies[intent]()


def time(now: datetime) -> str:
    """Return the time as it is said: "It's twenty past three in the afternoon."."""
    minute, hour = now.minute, now.hour
    if minute % 5:
        return f"It's {_hour(hour)} {_small(minute)} {_part_of_day(hour)}."
    if minute > _HALF:
        return f"It's {_round(_HOUR - minute)} to {_hour(hour + 1)} {_part_of_day(hour)}."
    if minute:
        return f"It's {_round(minute)} past {_hour(hour)} {_part_of_day(hour)}."
    return f"It's {_hour(hour)} o'clock {_part_of_day(hour)}."


def date(now: datetime, utterance: str = "") -> str:
    """Return the date; `utterance` may ask for tomorrow or yesterday, or for the year."""
    heard = set(words(utterance))
    shift = 1 if "tomorrow" in heard else -1 if "yesterday" in heard else 0
    day = now + timedelta(days=shift)
    if heard & {"year"}:
        return f"It's the year {_year(day.year)}."
    opening = {1: "Tomorrow is", -1: "Yesterday was", 0: "Today is"}[shift]
    return f"{opening} {day:%A}, {day:%B} {_ordinal(day.day)}."


def greeting(now: datetime, utterance: str) -> str:
    """Return a greeting that suits the hour and what was said."""
    if {"how"} & set(words(utterance)):
        return "I'm fine, thank you. What can I do for you?"
    part = "morning" if now.hour < _NOON else "afternoon" if now.hour < _EVENING else "evening"
    return f"Good {part}. What can I do for you?"


def goodbye(utterance: str) -> str:
    """Return a farewell in kind."""
    return "Good night. Sleep well." if "night" in words(utterance) else "Goodbye."


def thanks() -> str:
    """Return what one says to thanks."""
    return "You're welcome."


def capabilities(*, with_model: bool) -> str:
    """Return what can be asked for."""
    return CAPABILITIES + (WITH_MODEL if with_model else "")


def repeat(history: Sequence[Said]) -> str:
    """Return the last reply again."""
    return history[-1].reply if history else NOTHING_SAID


def remembered(fact: str) -> str:
    """Return that `fact` was written down, so that a misheard one is noticed."""
    return f"Okay, I'll remember: {fact}."


def recalled(fact: str) -> str:
    """Return what was told."""
    return f"You told me: {fact}."


def unsure(decision: Decision, known: Mapping[str, Intent]) -> str:
    """Return a question that names what could have been meant."""
    first = known[decision.intent].does
    if decision.other is None:
        return f"I'm not sure I understood. Did you want me to {first}?"
    return (
        f"I'm not sure I understood. Did you want me to {first}, or {known[decision.other].does}?"
    )


def _small(number: int) -> str:
    if number < len(_ONES):
        return f"oh {_ONES[number]}" if number < 10 else _ONES[number]  # noqa: PLR2004 - one digit
    return _tens(number)


def _tens(number: int) -> str:
    if number < _TWENTY:
        return _ONES[number]
    tens, ones = divmod(number, 10)
    return f"{_TENS[tens]}-{_ONES[ones]}" if ones else _TENS[tens]


def _round(minutes: int) -> str:
    return _ROUND.get(minutes) or _tens(minutes)


def _hour(hour: int) -> str:
    return _ONES[hour % _NOON or _NOON]


def _part_of_day(hour: int) -> str:
    if hour < _NOON:
        return "in the morning"
    if hour < _EVENING:
        return "in the afternoon"
    return "in the evening" if hour < _NIGHT else "at night"


def _ordinal(day: int) -> str:
    head, dash, last = _tens(day).rpartition("-")
    return head + dash + _ORDINALS.get(last, f"{last}th")


def _year(year: int) -> str:
    century, rest = divmod(year, 100)
    return str(year) if rest < 10 else f"{_tens(century)} {_tens(rest)}"  # noqa: PLR2004 - one digit
