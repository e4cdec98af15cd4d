"""Clarifying questions like "Did you want me to tell you the time?", and their answers. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from barnabee.understanding.intents import Intent, IntentDecision
from barnabee.understanding.lexical_matcher import split_words
from barnabee.understanding.skill import Question
from barnabee.understanding.yes_no import parse_yes_no

CLARIFICATION = "clarification"  # in the place of a skill's name in `Question`
UNSURE = "unsure"  # the intent of the exchange in which it was asked
CANCEL = "cancel"
_CHOICES = (
    frozenset(("first", "the first", "first one", "the first one")),
    frozenset(("second", "the second", "second one", "the second one", "the other one")),
)


@dataclass(frozen=True, slots=True)
class ClarifiedCommand:
    """The sentence that was ambiguous, and its intent according to the answer."""

    utterance: str
    intent: str


def ask_clarification(decision: IntentDecision, intents: Mapping[str, Intent]) -> str:
    """Return a question that names one or two possible intents."""
    first = intents[decision.intent].description
    if decision.alternative is None:
        return f"I'm not sure I understood. Did you want me to {first}?"
    second = intents[decision.alternative].description
    return f"I'm not sure I understood. Did you want me to {first}, or {second}?"


def make_question(text: str, decision: IntentDecision) -> Question:
    """Return the question to be stored; `text` is the ambiguous sentence."""
    offered = [name for name in (decision.intent, decision.alternative) if name]
    return Question(CLARIFICATION, {"text": text, "intents": offered})


def resolve_answer(text: str, question: Question) -> ClarifiedCommand | None:
    """Return the clarified command; None if `text` does not answer the question."""
    offered = [str(intent) for intent in question.data.get("intents", ())]
    asked_about = str(question.data.get("text", ""))
    answer = " ".join(split_words(text))
    for intent, names in zip(offered, _CHOICES, strict=False):
        if answer in names:
            return ClarifiedCommand(asked_about, intent)
    is_yes = parse_yes_no(text)
    if is_yes is False:
        return ClarifiedCommand(text, CANCEL)
    return ClarifiedCommand(asked_about, offered[0]) if is_yes and len(offered) == 1 else None
