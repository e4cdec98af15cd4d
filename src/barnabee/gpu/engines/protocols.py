"""What an engine must offer; nothing here says how.

All methods block and are called from one thread at a time, never from the event loop. What takes
long is an iterator: between two steps the engine is free for somebody else. An engine that runs out
of memory lets the library's error through; `memory.ran_out` knows it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]  # (n,), mono, in [-1, 1]

STT_RATE_HZ = 16_000
WAKE_FRAME = 1280  # samples, 80 ms: what a wake word's engine hears at a time


@dataclass(frozen=True, slots=True)
class Word:
    """One word, when it was said, and how sure the engine is of it (0 to 1)."""

    start_s: float
    end_s: float
    text: str  # with the blank before it, as engines give it, so that words join to the text
    confidence: float


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of speech and what was said in it; `words` only when they were asked for."""

    start_s: float
    end_s: float
    text: str
    average_log_probability: float
    no_speech_probability: float
    words: tuple[Word, ...] = ()

    @property
    def confidence(self) -> float:
        """Return how sure the engine is, 0 to 1: the geometric mean over its tokens."""
        return min(1.0, math.exp(self.average_log_probability))


@dataclass(frozen=True, slots=True)
class Embeddings:
    """`vectors` is (n, dimensions) float32 with rows of length 1, in the order of the texts.

    `tokens` says how many were read of each text.
    """

    vectors: NDArray[np.float32]
    tokens: tuple[int, ...]


class Engine(Protocol):
    """What all engines share."""

    def warm_up(self) -> None:
        """Do one small real inference; raises when the engine does not work."""

    def close(self) -> None:
        """Let go of all memory; nothing else is called afterwards.

        Whoever raises here has kept everything and goes on working: the unloading was refused.
        """


class SpeechToText(Engine, Protocol):
    """Hears."""

    @property
    def languages(self) -> frozenset[str]:
        """Return the language codes it knows (ISO 639-1)."""

    def transcribe(
        self, samples: Samples, *, language: str, words: bool = False
    ) -> Iterator[Segment]:
        """Yield what is said in `samples` (16 kHz), a stretch at a time; `words` wants times."""


class TextToSpeech(Engine, Protocol):
    """Speaks."""

    @property
    def sample_rate_hz(self) -> int:
        """Return the rate of what `speak` yields."""

    @property
    def voices(self) -> Sequence[str]:
        """Return the names `speak` takes, the house's own voice first."""

    def speak(self, text: str, *, voice: str, speed: float) -> Iterator[Samples]:
        """Yield `text` spoken, a phrase at a time; `speed` 1.0 is normal.

        Raises BadRequest when nothing of the text can be spoken.
        """


class Embedder(Engine, Protocol):
    """Turns texts into vectors whose dot product is their likeness."""

    @property
    def dimensions(self) -> int:
        """Return the length of a vector."""

    def embed(self, texts: Sequence[str]) -> Embeddings:
        """Return one vector for each text, the same among any others (cosine >= 0.999)."""


class Listener(Protocol):
    """One microphone's ear: it remembers the last seconds, so each stream has its own."""

    def hear(self, frame: NDArray[np.int16]) -> Mapping[str, float]:
        """Take the next (1280,) samples, 80 ms at 16 kHz; return each word's score, 0 to 1."""


class WakeWords(Engine, Protocol):
    """Waits for its name."""

    @property
    def words(self) -> Sequence[str]:
        """Return the names of the words it knows."""

    def listener(self, words: Sequence[str]) -> Listener:
        """Return a fresh ear for one stream that listens for `words`, all of them known."""
