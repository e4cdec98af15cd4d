"""The seams through which a command reaches the world, and the plain values that cross them.

`clients` and `store` sit above this package and fit themselves to these shapes; tests give fakes.
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
    """What Home Assistant's conversation engine made of a sentence.

    `code` is its error code (`no_intent_match`, `no_valid_targets`, ...), None when it understood;
    `actions` are the things it acted on, each with `type`, `name` and `id`.
    """

    kind: HomeKind
    speech: str
    code: str | None = None
    actions: tuple[dict[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class ModelAnswer:
    """What the language model said, and how long its first word took."""

    text: str
    first_token_ms: float


class Said(Protocol):
    """One earlier exchange of the conversation."""

    @property
    def utterance(self) -> str:
        """What was said."""
        ...

    @property
    def reply(self) -> str:
        """What was answered."""
        ...

    @property
    def intent(self) -> str:
        """What it was taken for."""
        ...


@dataclass(frozen=True, slots=True)
class KnownFact:
    """Something the house was told; without a `vector` when embeddings were away then."""

    text: str
    vector: Vectors | None


class Embedder(Protocol):
    """Turns sentences into rows of length 1."""

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """Return one row of 384 numbers for each text; Unavailable when that cannot be done."""
        ...


class Home(Protocol):
    """The house itself."""

    async def converse(
        self, text: str, *, conversation_id: str | None = None, language: str = "en"
    ) -> HomeAnswer:
        """Return what the house made of `text`; Unavailable when it cannot be reached."""
        ...


class LanguageModel(Protocol):
    """Somebody who knows about the rest of the world."""

    async def answer(self, utterance: str, history: Sequence[Said]) -> ModelAnswer:
        """Return a short spoken answer; Unavailable when none can be had."""
        ...


class Memory(Protocol):
    """What the house was told to remember."""

    async def remember(self, text: str, vector: Vectors | None, speaker: str | None) -> list[str]:
        """Keep `text` and return what was missing while doing so; Unavailable when it is lost."""
        ...

    async def facts(self) -> Sequence[KnownFact]:
        """Return everything that is remembered; Unavailable when it cannot be read."""
        ...
