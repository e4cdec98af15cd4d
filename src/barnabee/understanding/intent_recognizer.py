"""Intents, and their recognition: by embeddings, or by words while there are none.

The recognizer holds the embeddings of the examples; the caller stores them. The lexical index
compares bags of words with inverse document frequencies. It recognizes less than embeddings do, so
it has its own thresholds (measured in docs/reference/intents.md).

A sentence gets a score for each intent, the similarity to its nearest example: from embeddings with
`ExampleIndex`, or from words with `LexicalIndex`. `decide_intent` turns scores into a decision.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import re
import time
import tomllib
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.resources import files
from itertools import accumulate
from typing import Literal

import numpy as np

from barnabee.core import schema
from barnabee.core.errors import BarnabeeError
from barnabee.understanding.interfaces import SentenceEmbedder, Vectors


@dataclass(frozen=True)
class Intent:
    """An intent, who handles it, and example sentences; `description` is spoken in questions."""

    name: str
    description: str
    handler: Literal["home", "skill", "llm"]
    examples: tuple[str, ...]


@cache
def load_intents() -> dict[str, Intent]:
    """Return the intents of `intents.toml` by name, in the order of the file."""
    text = files("barnabee.understanding").joinpath("intents.toml").read_text(encoding="utf-8")
    return {
        name: Intent(name, table["description"], table["handler"], tuple(table["examples"]))
        for name, table in tomllib.loads(text).items()
    }


def list_examples(intents: dict[str, Intent]) -> list[str]:
    """Return the examples of all intents, in order."""
    return [example for intent in intents.values() for example in intent.examples]


def hash_examples(intents: dict[str, Intent]) -> str:
    """Return a hash that changes when any example does."""
    return hashlib.sha256("\n".join(list_examples(intents)).encode()).hexdigest()[:16]


class ConfidenceBand(StrEnum):
    """Confidence of a decision: accept the intent, ask back, or no intent."""

    ACCEPT = "accept"
    ASK = "ask"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class IntentDecision:
    """The most likely intent, its confidence, and an alternative to ask about."""

    band: ConfidenceBand
    intent: str
    score: float
    alternative: str | None = None


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Minimum scores to accept an intent or to ask back, and the margin of a tie (0 to 1)."""

    accept: float
    ask: float
    margin: float

    @classmethod
    def from_config(cls, config: schema.IntentConfig) -> Thresholds:
        return cls(
            config.accept_permille / 1000, config.ask_permille / 1000, config.margin_permille / 1000
        )


class ExampleIndex:
    """Embeddings of all examples: (n, 384) rows of length 1 in the order of `list_examples`."""

    def __init__(self, intents: Mapping[str, Intent], vectors: Vectors) -> None:
        counts = [len(intent.examples) for intent in intents.values()]
        if vectors.ndim != 2 or len(vectors) != sum(counts):  # noqa: PLR2004 - a matrix has two axes
            msg = f"{sum(counts)} examples but vectors of shape {vectors.shape}"
            raise ValueError(msg)
        self._names = list(intents)
        self._starts = [0, *accumulate(counts[:-1])]
        self._vectors = np.ascontiguousarray(vectors, dtype=np.float32)

    def scores(self, vector: Vectors) -> dict[str, float]:
        """Return for each intent the cosine of `vector` and its nearest example."""
        nearest = np.maximum.reduceat(self._vectors @ vector, self._starts)
        return dict(zip(self._names, nearest.tolist(), strict=True))


def decide_intent(
    scores: Mapping[str, float], intents: Mapping[str, Intent], thresholds: Thresholds
) -> IntentDecision:
    """Return the intent with the highest score, with its confidence band.

    Two intents within the margin are a tie only if the choice matters. Two home intents are none:
    Home Assistant distinguishes commands from questions itself. A home intent and conversation are
    none either: Home Assistant is asked first and passes on what it does not know.
    """
    ranked = sorted(scores, key=scores.__getitem__, reverse=True)
    best = ranked[0]
    other = next((name for name in ranked[1:] if _differ(intents[best], intents[name])), None)
    is_tie = other is not None and scores[best] - scores[other] < thresholds.margin
    handlers = (intents[best].handler, intents[other].handler) if other is not None else ()
    if is_tie and other is not None and "skill" not in handlers:
        best, other, is_tie = (best if intents[best].handler == "home" else other), None, False
    score = scores[best]
    if score < thresholds.ask:
        return IntentDecision(ConfidenceBand.NONE, best, score)
    if is_tie or score < thresholds.accept:
        alternative = other if other is not None and scores[other] >= thresholds.ask else None
        return IntentDecision(ConfidenceBand.ASK, best, score, alternative)
    return IntentDecision(ConfidenceBand.ACCEPT, best, score)


def _differ(one: Intent, another: Intent) -> bool:
    return one.handler == "skill" or one.handler != another.handler


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
EMBED_TIMEOUT_S = 1.0  # embedding a sentence takes 10 ms on a CPU
EMBED_RETRY_S = 2.0  # after a failure, words decide for this long without asking the embedder
EMBED_BATCH_SIZE = 64  # a request of this size stays within the client's timeout on a slow CPU
CACHE_SIZE = 512


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


@dataclass(frozen=True, slots=True)
class Recognition:
    """A decision and the sentence's embedding; `degraded` if words decided."""

    decision: IntentDecision
    vector: Vectors | None
    degraded: bool


class IntentRecognizer:
    """Recognizes intents, by words until the examples' embeddings are there."""

    def __init__(
        self,
        embedder: SentenceEmbedder,
        thresholds: Thresholds,
        *,
        intents: dict[str, Intent] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.intents = intents or load_intents()
        self._index: ExampleIndex | None = None
        self._cache: OrderedDict[str, Recognition] = OrderedDict()
        self.embedder = embedder
        self._thresholds = thresholds
        self._lexical_index = LexicalIndex(self.intents)
        self._clock = clock
        self._retry_at_s = float("-inf")

    async def embed_examples(self) -> Vectors:
        """Embed the examples, use the embeddings from now on, and return them.

        Raises the embedder's errors.
        """
        texts = list_examples(self.intents)
        starts = range(0, len(texts), EMBED_BATCH_SIZE)
        batches = [texts[start : start + EMBED_BATCH_SIZE] for start in starts]
        vectors = np.concatenate([await self.embedder.embed(batch) for batch in batches])
        self.use_vectors(vectors)
        return vectors

    def use_vectors(self, vectors: Vectors) -> None:
        """Use these embeddings of the examples from now on."""
        self._index = ExampleIndex(self.intents, vectors)
        self._cache.clear()

    async def recognize(self, text: str) -> Recognition:
        """Return the decision for `text`; without embeddings it is degraded."""
        cached = self._cache.get(text)
        if cached is not None:
            self._cache.move_to_end(text)
            return cached
        vector = await self.embed(text)
        if vector is None or self._index is None:
            scores = self._lexical_index.scores(text)
            decision = decide_intent(scores, self.intents, LEXICAL_THRESHOLDS)
            return Recognition(decision, vector, degraded=True)
        decision = decide_intent(self._index.scores(vector), self.intents, self._thresholds)
        recognition = Recognition(decision, vector, degraded=False)
        self._cache[text] = recognition
        if len(self._cache) > CACHE_SIZE:
            self._cache.popitem(last=False)
        return recognition

    async def embed(self, text: str) -> Vectors | None:
        """Return the embedding of `text`, or None while the embedder fails."""
        if self._clock() < self._retry_at_s:
            return None
        try:
            async with asyncio.timeout(EMBED_TIMEOUT_S):
                vectors = await self.embedder.embed([text])
        except (BarnabeeError, TimeoutError):
            self._retry_at_s = self._clock() + EMBED_RETRY_S
            return None
        row: Vectors = vectors[0]
        return row
