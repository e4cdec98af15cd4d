"""Decides what is meant from how near a sentence lies to each intent's nearest example.

Pure. Scores come from embeddings here, or from `lexical` when those cannot be had; both end in the
same `Decision`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate

import numpy as np

from barnabee.core import schema
from barnabee.understanding.intent_examples import Intent
from barnabee.understanding.interfaces import Vectors


class Band(StrEnum):
    """How sure the decision is."""

    ACCEPT = "accept"
    ASK = "ask"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Decision:
    """What is meant, how sure that is, and what else it could have been."""

    band: Band
    intent: str
    score: float
    other: str | None = None


@dataclass(frozen=True, slots=True)
class Thresholds:
    """From which score an intent is taken or asked about, and what counts as a tie (0 to 1)."""

    accept: float
    ask: float
    margin: float

    @classmethod
    def of(cls, table: schema.Intent) -> Thresholds:
        """Return the thresholds of `[intent]` in system.toml."""
        return cls(
            table.accept_permille / 1000, table.ask_permille / 1000, table.margin_permille / 1000
        )


class Index:
    """The vectors of all examples, ready to be compared with one sentence."""

    def __init__(self, known: Mapping[str, Intent], vectors: Vectors) -> None:
        """Take (n, 384) rows of length 1 in the order of `examples.sentences`."""
        counts = [len(intent.examples) for intent in known.values()]
        if vectors.ndim != 2 or len(vectors) != sum(counts):  # noqa: PLR2004 - a matrix has two axes
            msg = f"{sum(counts)} examples but vectors of shape {vectors.shape}"
            raise ValueError(msg)
        self._names = list(known)
        self._starts = [0, *accumulate(counts[:-1])]
        self._vectors = np.ascontiguousarray(vectors, dtype=np.float32)

    def scores(self, vector: Vectors) -> dict[str, float]:
        """Return each intent's cosine to `vector`: that of its nearest example."""
        nearest = np.maximum.reduceat(self._vectors @ vector, self._starts)
        return dict(zip(self._names, nearest.tolist(), strict=True))


def decide(
    scores: Mapping[str, float], known: Mapping[str, Intent], limits: Thresholds
) -> Decision:
    """Return what is meant.

    Two intents that end in the same place are no tie: the house itself tells a question from an
    order. Neither is one with conversation, because the house passes on what it does not know.
    """
    ranked = sorted(scores, key=scores.__getitem__, reverse=True)
    best = ranked[0]
    other = next((name for name in ranked[1:] if _differ(known[best], known[name])), None)
    near = other is not None and scores[best] - scores[other] < limits.margin
    if near and other is not None and "local" not in (known[best].to, known[other].to):
        best, other, near = (best if known[best].to == "home" else other), None, False
    score = scores[best]
    if score < limits.ask:
        return Decision(Band.NONE, best, score)
    if near or score < limits.accept:
        named = other if other is not None and scores[other] >= limits.ask else None
        return Decision(Band.ASK, best, score, named)
    return Decision(Band.ACCEPT, best, score)


def _differ(one: Intent, another: Intent) -> bool:
    return one.to == "local" or one.to != another.to
