"""The answer to a question asked back: "yes", "the second one", "no".

Pure. What was asked is kept in the conversation as the intent `unsure <first> [<second>]`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from barnabee.understanding.intent_index import Decision
from barnabee.understanding.interfaces import Said
from barnabee.understanding.lexical_matcher import words

UNSURE = "unsure"
_FIRST = frozenset(("yes", "yeah", "yep", "sure", "yes please", "exactly", "right", "correct"))
_ORDER = (
    frozenset(("first", "the first", "first one", "the first one")),
    frozenset(("second", "the second", "second one", "the second one", "the other one")),
)
_NO = frozenset(("no", "nope", "neither", "no thanks", "none", "no thank you"))


@dataclass(frozen=True, slots=True)
class Cleared:
    """The sentence that was not understood, and what it is now known to mean."""

    utterance: str
    intent: str


def asked(decision: Decision) -> str:
    """Return the form in which the question is kept."""
    return " ".join(filter(None, (UNSURE, decision.intent, decision.other)))


def cleared(text: str, history: Sequence[Said]) -> Cleared | None:
    """Return what was meant, when `text` answers a question that was asked back just before."""
    if not history or not history[-1].intent.startswith(UNSURE):
        return None
    offered = history[-1].intent.split()[1:]
    answer = " ".join(words(text))
    if answer in _NO:
        return Cleared(text, "cancel")
    if answer in _FIRST and len(offered) == 1:
        return Cleared(history[-1].utterance, offered[0])
    for place, names in zip(offered, _ORDER, strict=False):
        if answer in names:
            return Cleared(history[-1].utterance, place)
    return None
