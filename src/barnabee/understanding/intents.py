"""Intents: their example sentences, and the decision for one sentence.

A sentence gets a score for each intent, the similarity to its nearest example: from embeddings with
`ExampleIndex`, or from words with `LexicalIndex`. `decide_intent` turns scores into a decision.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.resources import files
from itertools import accumulate
from typing import Literal

import numpy as np

from barnabee.core import schema
from barnabee.understanding.interfaces import Vectors


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
