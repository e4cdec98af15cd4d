"""Understanding without embeddings, for the time the gpu service is away: words in common.

Pure. Sentences become bags of words, rare words weigh more, and the nearest example decides, as in
`intent`. It understands less, so its thresholds are its own (measured: docs/reference/intents.md).
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping

from barnabee.understanding.intent_examples import Intent
from barnabee.understanding.intent_index import Thresholds

LIMITS = Thresholds(accept=0.55, ask=0.45, margin=0.02)
FACT_SHARE = 0.5  # of the words of a question that a fact must have to be its answer

_WORD = re.compile(r"[a-z0-9]+(?:'[a-z]+)?")
_FULL = {
    "'s": " is",
    "'re": " are",
    "'m": " am",
    "'ve": " have",
    "'ll": " will",
    "n't": " not",
}
_EMPTY = frozenset(
    (
        "a",
        "an",
        "and",
        "are",
        "at",
        "be",
        "did",
        "do",
        "does",
        "for",
        "from",
        "had",
        "has",
        "have",
        "how",
        "i",
        "in",
        "is",
        "it",
        "me",
        "my",
        "of",
        "on",
        "or",
        "our",
        "put",
        "that",
        "the",
        "their",
        "there",
        "they",
        "this",
        "to",
        "was",
        "we",
        "were",
        "what",
        "when",
        "where",
        "which",
        "who",
        "whose",
        "with",
        "you",
        "your",
    )
)


def words(text: str) -> list[str]:
    """Return the words of `text`, lower case, short forms written out."""
    plain = text.lower().replace("can't", "can not")
    for short, full in _FULL.items():
        plain = plain.replace(short, full)
    return _WORD.findall(plain)


class Lexicon:
    """The words of all examples and what each is worth."""

    def __init__(self, known: Mapping[str, Intent]) -> None:
        """Weigh every word by how few examples have it."""
        bags = {name: [words(text) for text in one.examples] for name, one in known.items()}
        everything = [set(bag) for many in bags.values() for bag in many]
        seen = Counter(word for bag in everything for word in bag)
        self._unknown = math.log(len(everything) + 1)
        self._worth = {
            word: math.log((len(everything) + 1) / count) for word, count in seen.items()
        }
        self._bags = {name: [self._vector(bag) for bag in many] for name, many in bags.items()}

    def scores(self, text: str) -> dict[str, float]:
        """Return each intent's likeness to `text` (0 to 1): that of its nearest example."""
        asked = self._vector(words(text))
        return {
            name: max(_likeness(asked, bag) for bag in many) for name, many in self._bags.items()
        }

    def _vector(self, bag: list[str]) -> dict[str, float]:
        weights = {word: self._worth.get(word, self._unknown) for word in bag}
        length = math.sqrt(sum(value * value for value in weights.values())) or 1.0
        return {word: value / length for word, value in weights.items()}


def shared_share(question: str, fact: str) -> float:
    """Return which share of the telling words of `question` stand in `fact` (0 to 1)."""
    asked = set(words(question)) - _EMPTY
    return len(asked & set(words(fact))) / len(asked) if asked else 0.0


def _likeness(one: Mapping[str, float], another: Mapping[str, float]) -> float:
    return sum(weight * another.get(word, 0.0) for word, weight in one.items())
