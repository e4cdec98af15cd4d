"""Lexical matching: scores of intents from shared words, while there are no embeddings.

Pure. Sentences are bags of words with inverse document frequencies. It recognizes less than
embeddings do, so it has its own thresholds (measured in docs/reference/intents.md).
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping

from barnabee.understanding.intents import Intent, Thresholds

LEXICAL_THRESHOLDS = Thresholds(accept=0.55, ask=0.45, margin=0.02)

# Not with unknown words: "thanks a lot" is no reason to be thanked for "a lot louder".
SMALL_TALK = frozenset({"greeting", "thanks", "goodbye", "cancel"})

_WORD = re.compile(r"[a-z0-9]+(?:'[a-z]+)?")
_CONTRACTIONS = {
    "'s": " is",
    "'re": " are",
    "'m": " am",
    "'ve": " have",
    "'ll": " will",
    "n't": " not",
}
_STOP_WORDS = frozenset(
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


def split_words(text: str) -> list[str]:
    """Return the words of `text` in lower case, contractions expanded."""
    plain = text.lower().replace("can't", "can not")
    for short, full in _CONTRACTIONS.items():
        plain = plain.replace(short, full)
    return _WORD.findall(plain)


class LexicalIndex:
    """Weighted word vectors of all examples."""

    def __init__(self, intents: Mapping[str, Intent]) -> None:
        bags = {
            name: [split_words(text) for text in intent.examples]
            for name, intent in intents.items()
        }
        word_sets = [set(bag) for examples in bags.values() for bag in examples]
        counts = Counter(word for words in word_sets for word in words)
        self._unknown_weight = math.log(len(word_sets) + 1)
        self._weights = {
            word: math.log((len(word_sets) + 1) / count) for word, count in counts.items()
        }
        self._vectors = {
            name: [self._make_vector(bag) for bag in examples] for name, examples in bags.items()
        }

    def scores(self, text: str) -> dict[str, float]:
        """Return for each intent the similarity of `text` and its nearest example (0 to 1)."""
        words = split_words(text)
        vector = self._make_vector(words)
        scores = {
            name: max(_dot(vector, example) for example in examples)
            for name, examples in self._vectors.items()
        }
        has_unknown = any(word not in self._weights for word in words)
        return scores | (dict.fromkeys(SMALL_TALK & scores.keys(), 0.0) if has_unknown else {})

    def _make_vector(self, bag: list[str]) -> dict[str, float]:
        weights = {word: self._weights.get(word, self._unknown_weight) for word in bag}
        length = math.sqrt(sum(value * value for value in weights.values())) or 1.0
        return {word: value / length for word, value in weights.items()}


def _dot(first: Mapping[str, float], second: Mapping[str, float]) -> float:
    return sum(weight * second.get(word, 0.0) for word, weight in first.items())
