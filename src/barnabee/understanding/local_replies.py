"""Local replies: time and date, small talk, clarifying questions and failure messages.

Pure. Replies are spoken, so numbers are words and lists are short.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from barnabee.core.errors import BarnabeeError
from barnabee.understanding.intents import Intent, IntentDecision
from barnabee.understanding.interfaces import PastExchange
from barnabee.understanding.lexical_matcher import split_words

CAPABILITIES = (
    "I can switch things in your home, tell you how they are, tell you the time and date, "
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


def answer_locally(
    intent: str, now: datetime, utterance: str, history: Sequence[PastExchange], *, with_model: bool
) -> str:
    """Return the reply to an intent that needs only the clock and the conversation."""
    replies: dict[str, Callable[[], str]] = {
        "time": lambda: tell_time(now),
        "date": lambda: tell_date(now, utterance),
        "capabilities": lambda: describe_capabilities(with_model=with_model),
        "repeat": lambda: repeat_reply(history),
        "remember": lambda: WHAT_FACT,
        "greeting": lambda: greet(now, utterance),
        "thanks": acknowledge_thanks,
        "goodbye": lambda: say_goodbye(utterance),
        "cancel": lambda: CANCELLED,
    }
    return replies[intent]()


def tell_time(now: datetime) -> str:
    """Return the time in words, like "It's twenty past three in the afternoon."."""
    minute, hour = now.minute, now.hour
    if minute % 5:
        return f"It's {_say_hour(hour)} {_say_minutes(minute)} {_part_of_day(hour)}."
    if minute > _HALF:
        minutes = _say_round_minutes(_HOUR - minute)
        return f"It's {minutes} to {_say_hour(hour + 1)} {_part_of_day(hour)}."
    if minute:
        return f"It's {_say_round_minutes(minute)} past {_say_hour(hour)} {_part_of_day(hour)}."
    return f"It's {_say_hour(hour)} o'clock {_part_of_day(hour)}."


def tell_date(now: datetime, utterance: str = "") -> str:
    """Return the date of today, tomorrow or yesterday, or the year, as `utterance` asks."""
    words = set(split_words(utterance))
    shift = 1 if "tomorrow" in words else -1 if "yesterday" in words else 0
    day = now + timedelta(days=shift)
    if "year" in words:
        return f"It's the year {_say_year(day.year)}."
    opening = {1: "Tomorrow is", -1: "Yesterday was", 0: "Today is"}[shift]
    return f"{opening} {day:%A}, {day:%B} {_say_ordinal(day.day)}."


def greet(now: datetime, utterance: str) -> str:
    """Return a greeting for the time of day, or an answer to "how are you"."""
    if {"how"} & set(split_words(utterance)):
        return "I'm fine, thank you. What can I do for you?"
    part = "morning" if now.hour < _NOON else "afternoon" if now.hour < _EVENING else "evening"
    return f"Good {part}. What can I do for you?"


def say_goodbye(utterance: str) -> str:
    return "Good night. Sleep well." if "night" in split_words(utterance) else "Goodbye."


def acknowledge_thanks() -> str:
    return "You're welcome."


def describe_capabilities(*, with_model: bool) -> str:
    return CAPABILITIES + (WITH_MODEL if with_model else "")


def repeat_reply(history: Sequence[PastExchange]) -> str:
    return history[-1].reply if history else NOTHING_SAID


def confirm_fact(fact: str) -> str:
    """Return a confirmation that repeats `fact`, so that a wrong transcript is noticed."""
    return f"Okay, I'll remember: {fact}."


def quote_fact(fact: str) -> str:
    return f"You told me: {fact}."


def ask_clarification(decision: IntentDecision, intents: Mapping[str, Intent]) -> str:
    """Return a question that names one or two possible intents."""
    first = intents[decision.intent].description
    if decision.alternative is None:
        return f"I'm not sure I understood. Did you want me to {first}?"
    second = intents[decision.alternative].description
    return f"I'm not sure I understood. Did you want me to {first}, or {second}?"


def _say_minutes(number: int) -> str:
    if number < len(_ONES):
        return f"oh {_ONES[number]}" if number < 10 else _ONES[number]  # noqa: PLR2004 - one digit
    return _say_number(number)


def _say_number(number: int) -> str:
    if number < _TWENTY:
        return _ONES[number]
    tens, ones = divmod(number, 10)
    return f"{_TENS[tens]}-{_ONES[ones]}" if ones else _TENS[tens]


def _say_round_minutes(minutes: int) -> str:
    return _ROUND.get(minutes) or _say_number(minutes)


def _say_hour(hour: int) -> str:
    return _ONES[hour % _NOON or _NOON]


def _part_of_day(hour: int) -> str:
    if hour < _NOON:
        return "in the morning"
    if hour < _EVENING:
        return "in the afternoon"
    return "in the evening" if hour < _NIGHT else "at night"


def _say_ordinal(day: int) -> str:
    head, dash, last = _say_number(day).rpartition("-")
    return head + dash + _ORDINALS.get(last, f"{last}th")


def _say_year(year: int) -> str:
    century, rest = divmod(year, 100)
    return str(year) if rest < 10 else f"{_say_number(century)} {_say_number(rest)}"  # noqa: PLR2004 - one digit


_GENERAL_FAILURE = "Something went wrong on my side. Please try again."
_FAILURES = {
    ("home_assistant", "not_configured"): (
        "I'm not connected to Home Assistant yet, so I can't do that."
    ),
    ("home_assistant", "dependency_down"): (
        "I can't reach Home Assistant right now, so I couldn't do that."
    ),
    ("home_assistant", "dropped"): (
        "I lost the connection to Home Assistant, so I can't be sure that was done."
    ),
    ("home_assistant", "timed_out"): (
        "Home Assistant is taking too long to answer, so I can't be sure that was done."
    ),
    ("home_assistant", "no_intent_match"): "Sorry, I don't know how to do that in your home.",
    ("home_assistant", "no_valid_targets"): "Sorry, I couldn't find that in your home.",
    ("home_assistant", "failed_to_handle"): "Sorry, Home Assistant couldn't do that.",
    ("llm", "not_configured"): (
        "Sorry, I can only help with your home, the time and things you told me."
    ),
    ("llm", "dependency_down"): (
        "I can't get an answer to that right now. Your home, the time and your notes still work."
    ),
    ("llm", "timed_out"): "That is taking me too long. Please ask me again later.",
    ("llm", "empty"): "I don't have an answer to that.",
    ("memory", "dependency_down"): "I couldn't write that down. Please tell me again later.",
    ("memory", "unreadable"): "I can't look at my notes right now.",
}


def get_failure_phrase(dependency: str, code: str) -> str:
    """Return the sentence for a failure; `code` is that of `core.errors` or of Home Assistant."""
    return _FAILURES.get((dependency, code)) or _FAILURES.get(
        (dependency, "dependency_down"), _GENERAL_FAILURE
    )


def get_failure_code(error: BarnabeeError) -> str:
    """Return the error's code, or `dropped` if the request may have been carried out."""
    return "dropped" if error.fields.get("sent") else error.code


UNSURE = "unsure"  # stored as the intent `unsure <first> [<second>]` while a question is open
_YES = frozenset(("yes", "yeah", "yep", "sure", "yes please", "exactly", "right", "correct"))
_CHOICES = (
    frozenset(("first", "the first", "first one", "the first one")),
    frozenset(("second", "the second", "second one", "the second one", "the other one")),
)
_NO = frozenset(("no", "nope", "neither", "no thanks", "none", "no thank you"))


@dataclass(frozen=True, slots=True)
class ClarifiedCommand:
    """The utterance that was ambiguous, and its intent according to the answer."""

    utterance: str
    intent: str


def encode_question(decision: IntentDecision) -> str:
    """Return the intent under which a clarifying question is stored in the conversation."""
    return " ".join(filter(None, (UNSURE, decision.intent, decision.alternative)))


def resolve_answer(text: str, history: Sequence[PastExchange]) -> ClarifiedCommand | None:
    """Return the clarified command if `text` answers a clarifying question of the last turn."""
    if not history or not history[-1].intent.startswith(UNSURE):
        return None
    offered = history[-1].intent.split()[1:]
    answer = " ".join(split_words(text))
    if answer in _NO:
        return ClarifiedCommand(text, "cancel")
    if answer in _YES and len(offered) == 1:
        return ClarifiedCommand(history[-1].utterance, offered[0])
    for intent, names in zip(offered, _CHOICES, strict=False):
        if answer in names:
            return ClarifiedCommand(history[-1].utterance, intent)
    return None
