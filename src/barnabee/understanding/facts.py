"""Facts that the family asks to remember: recognition of such sentences, and retrieval.

Pure. A fact can be about anything, so similarity to examples does not help: the beginning of the
sentence decides, and a question is compared with the facts themselves.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from barnabee.understanding import lexical_matcher
from barnabee.understanding.interfaces import KnownFact, Vectors

_REMEMBER = re.compile(
    r"(?:(?:can|could|would|will) you |i (?:want|would like) you to )?(?:please )?"
    r"(?:remember(?! (?:when|how|who|what|why|where|the time)\b)|(?:make|take) a note|"
    r"note(?: down)?|keep in mind|(?:do not|don't) forget|save this)"
    r"(?:,| that\b|:)?\s+(?P<fact>\S.*)",
    re.IGNORECASE,
)
_RECALL = re.compile(
    r"(?:what (?:did|have) (?:i|we) (?:tell|told|say|said|ask|asked)|"
    r"what do you (?:remember|know about (?:me|my|our))|do you remember|"
    r"remind me (?:where|what|when)|"
    r"where did (?:i|we) (?:put|leave|park|hide|store))\b",
    re.IGNORECASE,
)
_EMPTY_FACTS = frozenset({"this", "that", "it", "something", "this for me", "that for me"})


def extract_fact(text: str) -> str | None:
    """Return the fact if `text` asks to remember one, else None."""
    match = _REMEMBER.fullmatch(text)
    fact = match["fact"].strip() if match else ""
    return fact if fact and fact.lower() not in _EMPTY_FACTS else None


def is_recall_question(text: str) -> bool:
    """Return whether `text` begins like a question about a remembered fact."""
    return _RECALL.match(text) is not None


def find_fact(
    question: str, vector: Vectors | None, facts: Sequence[KnownFact], *, min_score: float
) -> KnownFact | None:
    """Return the fact that answers `question`: a cosine of at least `min_score`, or shared words.

    Words are compared only if a vector is missing or has another size. Of equally good facts the
    last one wins.
    """
    best: KnownFact | None = None
    best_score = 0.0
    for fact in facts:
        if vector is not None and fact.vector is not None and vector.shape == fact.vector.shape:
            score = float(np.dot(vector, fact.vector))
            is_match = score >= min_score
        else:
            score = lexical_matcher.compute_word_overlap(question, fact.text)
            is_match = score >= lexical_matcher.MIN_FACT_OVERLAP
        if is_match and score >= best_score:
            best, best_score = fact, score
    return best
