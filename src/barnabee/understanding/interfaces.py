"""Interfaces of the services that a command uses, and the values they exchange.

Implemented in `clients` and `store`, and by fakes in tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
HomeKind = Literal["action_done", "query_answer", "error"]


@dataclass(frozen=True, slots=True)
class HomeAnswer:
    """Response of Home Assistant's conversation agent to a sentence.

    `code` is its error code (`no_intent_match`, `no_valid_targets`, ...), None without an error;
    `actions` are the affected targets, each with `type`, `name` and `id`.
    """

    kind: HomeKind
    speech: str
    code: str | None = None
    actions: tuple[dict[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class ModelAnswer:
    """Answer of the language model, and its latency to the first token."""

    text: str
    first_token_ms: float


class PastExchange(Protocol):
    """One earlier exchange of the conversation."""

    @property
    def utterance(self) -> str: ...

    @property
    def reply(self) -> str: ...

    @property
    def intent(self) -> str: ...


@dataclass(frozen=True, slots=True)
class KnownFact:
    """A remembered fact; without a `vector` if embeddings were not available then."""

    text: str
    vector: Vectors | None


class SentenceEmbedder(Protocol):
    """Embeds sentences."""

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """Return one row of 384 numbers and length 1 for each text, or raise Unavailable."""
        ...


class HomeAgent(Protocol):
    """Conversation agent that controls the home."""

    async def converse(
        self, text: str, *, conversation_id: str | None = None, language: str = "en"
    ) -> HomeAnswer:
        """Return the response to `text`, or raise Unavailable."""
        ...


class LanguageModel(Protocol):
    """Language model that answers general questions."""

    async def answer(self, utterance: str, history: Sequence[PastExchange]) -> ModelAnswer:
        """Return a short answer that can be spoken, or raise Unavailable."""
        ...


class FactMemory(Protocol):
    """Store of the facts that the family asked to remember."""

    async def remember(self, text: str, vector: Vectors | None, speaker: str | None) -> list[str]:
        """Store `text` and return the failed dependencies; Unavailable if not stored."""
        ...

    async def facts(self) -> Sequence[KnownFact]:
        """Return all facts, or raise Unavailable."""
        ...
