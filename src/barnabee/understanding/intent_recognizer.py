"""Turns a sentence into a decision: by embeddings when they can be had, by its words otherwise.

Holds the vectors of the examples; where they come from and where they are kept is the caller's
business. Knows no service, only the `Embedder` seam.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from barnabee.core.errors import BarnabeeError
from barnabee.understanding import intent_examples, lexical_matcher
from barnabee.understanding.intent_index import Decision, Index, Thresholds, decide
from barnabee.understanding.interfaces import Embedder, Vectors

# A sentence takes 10 ms on a CPU; more than this means that the service hangs, and a person waits.
EMBED_TIMEOUT_S = 1.0
# After a failure the words decide at once for this long, so that nobody waits for each sentence.
PAUSE_S = 2.0
# So many examples a request: each is answered within the client's time limit on a slow CPU.
AT_ONCE = 64
# A family says the same few things every day: what was understood once needs no second asking.
HEARD_KEPT = 512


@dataclass(frozen=True, slots=True)
class Understood:
    """A decision, the sentence's vector where there is one, and whether words had to do."""

    decision: Decision
    vector: Vectors | None
    degraded: bool


class Understanding:
    """What is known of the intents."""

    def __init__(
        self,
        embedder: Embedder,
        limits: Thresholds,
        *,
        known: dict[str, intent_examples.Intent] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Work by words until there are vectors (`learn`, `use`)."""
        self.known = known or intent_examples.intents()
        self._index: Index | None = None
        self._heard: OrderedDict[str, Understood] = OrderedDict()
        self._embedder = embedder
        self._limits = limits
        self._lexicon = lexical_matcher.Lexicon(self.known)
        self._clock = clock
        self._retry_at_s = float("-inf")

    async def learn(self) -> Vectors:
        """Have the examples embedded, use them from now on and return their vectors."""
        texts = intent_examples.sentences(self.known)
        parts = [texts[start : start + AT_ONCE] for start in range(0, len(texts), AT_ONCE)]
        vectors = np.concatenate([await self._embedder.embed(part) for part in parts])
        self.use(vectors)
        return vectors

    def use(self, vectors: Vectors) -> None:
        """Decide by these vectors of the examples from now on."""
        self._index = Index(self.known, vectors)
        self._heard.clear()

    async def understand(self, text: str) -> Understood:
        """Return what `text` means; never fails for want of embeddings."""
        known = self._heard.get(text)
        if known is not None:
            self._heard.move_to_end(text)
            return known
        vector = await self.vector(text)
        if vector is None or self._index is None:
            scores = self._lexicon.scores(text)
            return Understood(
                decide(scores, self.known, lexical_matcher.LIMITS), vector, degraded=True
            )
        decision = decide(self._index.scores(vector), self.known, self._limits)
        understood = Understood(decision, vector, degraded=False)
        self._heard[text] = understood
        if len(self._heard) > HEARD_KEPT:
            self._heard.popitem(last=False)
        return understood

    async def vector(self, text: str) -> Vectors | None:
        """Return the vector of `text`, or None while embeddings cannot be had."""
        if self._clock() < self._retry_at_s:
            return None
        try:
            async with asyncio.timeout(EMBED_TIMEOUT_S):
                vectors = await self._embedder.embed([text])
        except (BarnabeeError, TimeoutError):
            self._retry_at_s = self._clock() + PAUSE_S
            return None
        row: Vectors = vectors[0]
        return row
