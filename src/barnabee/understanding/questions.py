"""Questions of the assistant and their answers: yes or no, or which of two intents. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from barnabee.understanding.intent_recognizer import Intent, IntentDecision, split_words
from barnabee.understanding.skill import Question

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


_YES = re.compile(
    r"(?:yes|yeah|yep|yup|aye|sure|of course|correct|right|exactly|absolutely|certainly|please"
    r"|ok|okay|do it|do that|go ahead|please do|go on|that's right|i'm sure|i am sure"
    r"|confirm|definitely)"
)
_NO = re.compile(
    r"(?:no|nope|nah|not now|don't|do not|please don't|never mind|nevermind|cancel|stop|forget it"
    r"|leave it|better not|rather not|no way|neither|none)"
)
_FILLING = re.compile(r"\b(?:um|uh|er|well|oh|please|thanks|thank you|then|barnabee|i think)\b")


def parse_yes_no(text: str) -> bool | None:
    """Return whether `text` says yes or no, None if it says something else."""
    said = " ".join(re.findall(r"[\w']+", text.lower().replace("\u2019", "'")))
    short = " ".join(_FILLING.sub(" ", said).split()) or said
    if re.fullmatch(rf"{_YES.pattern}(?: {_YES.pattern})*", short):
        return True
    return False if re.fullmatch(rf"{_NO.pattern}(?: {_NO.pattern})*", short) else None
