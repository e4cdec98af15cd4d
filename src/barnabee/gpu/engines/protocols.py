"""Protocols of the inference engines and the types of their results.

Methods block and are called from one thread at a time, never from the event loop. Long work is an
iterator: between two items the engine is free for other requests. An engine that runs out of memory
raises its library's error, which `oom_retry.is_out_of_memory` recognises.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import httpx
import numpy as np
from numpy.typing import NDArray

from barnabee.audio.samples import Samples

WAKE_FRAME_SAMPLES = 1280  # 80 ms at 16 kHz: the input of wake word engines


@dataclass(frozen=True, slots=True)
class Word:
    """One recognised word with its time and confidence (0 to 1)."""

    start_s: float
    end_s: float
    text: str  # with a leading blank, so that words concatenate to the text
    confidence: float


@dataclass(frozen=True, slots=True)
class Segment:
    """One stretch of recognised speech; `words` is empty unless requested."""

    start_s: float
    end_s: float
    text: str
    average_log_probability: float
    no_speech_probability: float
    words: tuple[Word, ...] = ()

    @property
    def confidence(self) -> float:
        """Geometric mean of the tokens' probabilities, 0 to 1."""
        return min(1.0, math.exp(self.average_log_probability))


@dataclass(frozen=True, slots=True)
class Embeddings:
    """Vectors of the texts, (n, dimensions) with rows of length 1, and the tokens read of each."""

    vectors: NDArray[np.float32]
    tokens: tuple[int, ...]


class Engine(Protocol):
    """Methods of every engine."""

    def warm_up(self) -> None:
        """Run one small inference; raises when the engine does not work."""

    def close(self) -> None:
        """Release all memory; no method is called afterwards.

        An engine that raises here stays usable: the unload was refused.
        """


class SpeechToText(Engine, Protocol):
    """Speech recognition."""

    @property
    def languages(self) -> frozenset[str]:
        """Supported language codes (ISO 639-1)."""

    def transcribe(
        self, samples: Samples, *, language: str, words: bool = False
    ) -> Iterator[Segment]:
        """Yield the segments of 16 kHz audio; `words` asks for the time of each word."""


class TextToSpeech(Engine, Protocol):
    """Speech synthesis."""

    @property
    def sample_rate_hz(self) -> int:
        """Rate of the samples that `speak` yields."""

    @property
    def voices(self) -> Sequence[str]:
        """Names that `speak` accepts, the default voice first."""

    def speak(self, text: str, *, voice: str, speed: float) -> Iterator[Samples]:
        """Yield the audio of `text`, one phrase at a time; `speed` 1.0 is normal.

        Raises BadRequest when the text has nothing to pronounce.
        """


class TextEmbedder(Engine, Protocol):
    """Sentence embedding; the dot product of two vectors is their similarity."""

    @property
    def dimensions(self) -> int: ...

    def embed(self, texts: Sequence[str]) -> Embeddings:
        """Return one vector for each text, the same in any batch (cosine >= 0.999)."""


class LanguageModel(Engine, Protocol):
    """Chat model in a server of its own, which has OpenAI's API."""

    @property
    def client(self) -> httpx.AsyncClient:
        """Client of the server, for the event loop."""


class WakeWordStream(Protocol):
    """Recent audio of one microphone, scored frame by frame."""

    def score_frame(self, frame: NDArray[np.int16]) -> Mapping[str, float]:
        """Take the next (1280,) samples at 16 kHz; return each word's score, 0 to 1."""


class WakeWordEngine(Engine, Protocol):
    """Wake word detection for any number of streams."""

    @property
    def words(self) -> Sequence[str]:
        """Supported wake words."""

    def open_stream(self, words: Sequence[str]) -> WakeWordStream:
        """Return a new stream that scores `words`, all of them supported."""
