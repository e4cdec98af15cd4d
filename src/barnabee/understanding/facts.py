"""Remembering what the family says, and finding it again.

Pure. A fact can be about anything, so its likeness to examples says little: how the sentence begins
decides that something is to be remembered or was asked for, and a question is compared with the
facts themselves.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from barnabee.understanding import lexical_matcher
from barnabee.understanding.interfaces import KnownFact, Vectors

_TELL = re.compile(
    r"(?:(?:can|could|would|will) you |i (?:want|would like) you to )?(?:please )?"
    r"(?:remember(?! (?:when|how|who|what|why|where|the time)\b)|(?:make|take) a note|"
    r"note(?: down)?|keep in mind|(?:do not|don't) forget|save this)"
    r"(?:,| that\b|:)?\s+(?P<fact>\S.*)",
    re.IGNORECASE,
)
_ASK = re.compile(
    r"(?:what (?:did|have) (?:i|we) (?:tell|told|say|said|ask|asked)|"
    r"what do you (?:remember|know about (?:me|my|our))|do you remember|"
    r"remind me (?:where|what|when)|"
    r"where did (?:i|we) (?:put|leave|park|hide|store))\b",
    re.IGNORECASE,
)
_POINTLESS = frozenset({"this", "that", "it", "something", "this for me", "that for me"})


def told(text: str) -> str | None:
    """Return the fact when `text` asks to remember one, else None."""
    found = _TELL.fullmatch(text)
    fact = found["fact"].strip() if found else ""
    return fact if fact and fact.lower() not in _POINTLESS else None


def asked(text: str) -> bool:
    """Return whether `text` begins as a question about what was told."""
    return _ASK.match(text) is not None


def nearest(
    question: str, vector: Vectors | None, known: Sequence[KnownFact], *, least: float
) -> KnownFact | None:
    """Return the fact that answers `question`: cosine of at least `least`, or enough words shared.

    Words decide only where a vector is missing, or another model made it. Of equally good ones the
    last told wins.
    """
    best: KnownFact | None = None
    best_score = 0.0
    for fact in known:
        if vector is not None and fact.vector is not None and vector.shape == fact.vector.shape:
            score = float(np.dot(vector, fact.vector))
            enough = score >= least
        else:
            score = lexical_matcher.shared_share(question, fact.text)
            enough = score >= lexical_matcher.FACT_SHARE
        if enough and score >= best_score:
            best, best_score = fact, score
    return best
