"""What an engine must offer; nothing here says how.

All methods block and are called from one thread at a time, never from the event loop. What takes
long is an iterator: between two steps the engine is free for somebody else.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]  # (n,), mono, in [-1, 1]

STT_RATE_HZ = 16_000


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of speech and what was said in it."""

    start_s: float
    end_s: float
    text: str
    average_log_probability: float
    no_speech_probability: float


@dataclass(frozen=True, slots=True)
class Embeddings:
    """`vectors` is (n, dimensions) float32 with rows of length 1, in the order of the texts."""

    vectors: NDArray[np.float32]
    tokens: int


class Engine(Protocol):
    """What all engines share."""

    def warm_up(self) -> None:
        """Do one small real inference; raises when the engine does not work."""


class SpeechToText(Engine, Protocol):
    """Hears."""

    @property
    def languages(self) -> frozenset[str]:
        """Return the language codes it knows (ISO 639-1)."""

    def transcribe(self, samples: Samples, *, language: str) -> Iterator[Segment]:
        """Yield what is said in `samples` (16 kHz), a stretch at a time."""


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
        """Return one vector for each text."""
