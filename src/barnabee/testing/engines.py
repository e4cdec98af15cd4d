"""Stand-ins for the engines, for tests and for measuring everything around an engine.

They keep the protocols of `gpu.engines.protocols` to the letter (shapes, units, length 1) and are
deterministic: the same text gives the same vector, a text's sound is as long as the text.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from barnabee.core.errors import BadRequest
from barnabee.gpu.engines.protocols import STT_RATE_HZ, Embeddings, Samples, Segment, Word
from barnabee.gpu.phrases import phrases


@dataclass
class FakeEars:
    """Hears `text` in whatever sounds, and nothing in silence."""

    text: str = "turn on the kitchen light"
    languages: frozenset[str] = frozenset({"en", "de"})
    heard: list[tuple[float, str]] = field(default_factory=list)  # (seconds, language)

    def warm_up(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""

    def transcribe(
        self, samples: Samples, *, language: str, words: bool = False
    ) -> Iterator[Segment]:
        """Yield one segment for each sentence of `text`, evenly over the sound."""
        duration_s = len(samples) / STT_RATE_HZ
        self.heard.append((duration_s, language))
        if not np.any(samples):
            return
        parts = phrases(self.text)
        for number, part in enumerate(parts):
            start_s = duration_s * number / len(parts)
            end_s = duration_s * (number + 1) / len(parts)
            text = f" {part.text}"
            said = (Word(start_s, end_s, text, 0.9),) if words else ()
            yield Segment(start_s, end_s, text, -0.1, 0.01, said)


@dataclass
class FakeVoice:
    """Says every phrase as a tone, 10 ms a character."""

    sample_rate_hz: int = 24_000
    voices: Sequence[str] = ("barnabee", "af_heart")
    said: list[str] = field(default_factory=list)

    def warm_up(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""

    def speak(self, text: str, *, voice: str, speed: float) -> Iterator[Samples]:
        """Yield one tone for each phrase."""
        if not any(character.isalnum() for character in text):
            raise BadRequest(field="field `input`", reason="nothing in it can be spoken")
        pitch_hz = 220 * (1 + self.voices.index(voice))
        for phrase in phrases(text):
            self.said.append(phrase.text)
            count = int(len(phrase.text) * 0.01 * self.sample_rate_hz / speed)
            angle = 2 * np.pi * pitch_hz * np.arange(count) / self.sample_rate_hz
            yield (0.3 * np.sin(angle)).astype(np.float32)


@dataclass
class FakeEmbedder:
    """Gives every text a vector of length 1 made of its words: texts that share words are alike."""

    dimensions: int = 384
    asked: list[list[str]] = field(default_factory=list)

    def warm_up(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""

    def embed(self, texts: Sequence[str]) -> Embeddings:
        """Return the normalised sum of one pseudo-random vector for each word."""
        self.asked.append(list(texts))
        rows = [self._vector(text) for text in texts]
        tokens = tuple(len(text.split()) for text in texts)
        return Embeddings(np.array(rows, np.float32).reshape(len(rows), self.dimensions), tokens)

    def _vector(self, text: str) -> Samples:
        words = text.lower().split() or [""]
        total = np.sum([self._word(word) for word in words], axis=0)
        return np.asarray(total / np.linalg.norm(total), np.float32)

    def _word(self, word: str) -> Samples:
        seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "big")
        return np.random.default_rng(seed).standard_normal(self.dimensions).astype(np.float32)


@dataclass
class FakeWakeWords:
    """Hears a word in the frames that `saying` makes, and nothing in any other."""

    words: Sequence[str] = ("hey_jarvis", "alexa")
    ears: int = 0  # how many listeners were asked for
    frames: int = 0  # how many frames they heard, all together
    gate: Gate | None = None  # what every frame has to pass

    def warm_up(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""

    def listener(self, words: Sequence[str]) -> FakeEar:
        """Return an ear for `words`."""
        self.ears += 1
        return FakeEar(self, tuple(words))

    def saying(self, word: str, permille: int = 990) -> NDArray[np.int16]:
        """Return a frame in which `word` scores `permille`."""
        frame = np.zeros(1280, np.int16)
        frame[0], frame[1] = 1 + self.words.index(word), permille
        return frame


@dataclass
class FakeEar:
    """Listens for `FakeWakeWords`."""

    engine: FakeWakeWords
    words: Sequence[str]

    def hear(self, frame: NDArray[np.int16]) -> Mapping[str, float]:
        """Return the score that was put into the frame, and 0 for every other word."""
        if frame.shape != (1280,) or frame.dtype != np.int16:
            msg = f"a frame is (1280,) int16, not {frame.shape} {frame.dtype}"
            raise ValueError(msg)
        if self.engine.gate is not None:
            self.engine.gate.passed()
        self.engine.frames += 1
        said, permille = int(frame[0]), int(frame[1])
        return {
            word: permille / 1000 if number == said else 0.0
            for number, word in enumerate(self.engine.words, start=1)
            if word in self.words
        }


@dataclass
class Gate:
    """Holds an engine's jobs until a test opens it: wrap what the engine does in `passed`."""

    reached: threading.Event = field(default_factory=threading.Event)
    opened: threading.Event = field(default_factory=threading.Event)

    def passed(self, limit_s: float = 30) -> None:
        """Say that a job came here, and wait until the gate is opened."""
        self.reached.set()
        if not self.opened.wait(limit_s):
            msg = "the test never opened the gate"
            raise TimeoutError(msg)
