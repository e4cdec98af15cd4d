"""Fakes of the inference engines and of the GPU memory probe.

They implement `gpu.engines.protocols` (shapes, units, vectors of length 1) and are deterministic:
the same text gives the same vector, and the duration of speech is proportional to the text.
"""

from __future__ import annotations

import base64
import hashlib
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from barnabee.audio.samples import STT_RATE_HZ, Samples
from barnabee.core.errors import BadRequest, BarnabeeError, DependencyDown
from barnabee.gpu.engines.base import Embeddings, Segment, Word
from barnabee.gpu.phrases import split_phrases
from barnabee.gpu.vram.probe import MemoryReading
from barnabee.understanding.intent_recognizer import split_words
from barnabee.understanding.interfaces import Vectors


@dataclass
class FakeTranscriber:
    """Transcribes every sound as `text`, and silence as nothing."""

    text: str = "turn on the kitchen light"
    languages: frozenset[str] = frozenset({"en", "de"})
    transcribed: list[tuple[float, str]] = field(default_factory=list)  # (seconds, language)

    def warm_up(self) -> None: ...

    def close(self) -> None: ...

    def transcribe(
        self, samples: Samples, *, language: str, words: bool = False
    ) -> Iterator[Segment]:
        """Yield one segment per sentence of `text`, evenly over the duration."""
        duration_s = len(samples) / STT_RATE_HZ
        self.transcribed.append((duration_s, language))
        if not np.any(samples):
            return
        parts = split_phrases(self.text)
        for number, part in enumerate(parts):
            start_s = duration_s * number / len(parts)
            end_s = duration_s * (number + 1) / len(parts)
            text = f" {part.text}"
            said = (Word(start_s, end_s, text, 0.9),) if words else ()
            yield Segment(start_s, end_s, text, -0.1, 0.01, said)


@dataclass
class FakeSynthesizer:
    """Speaks every phrase as a tone of 10 ms per character."""

    sample_rate_hz: int = 24_000
    voices: Sequence[str] = ("barnabee", "af_heart")
    spoken: list[str] = field(default_factory=list)

    def warm_up(self) -> None: ...

    def close(self) -> None: ...

    def speak(self, text: str, *, voice: str, speed: float) -> Iterator[Samples]:
        """Yield one tone per phrase."""
        if not any(character.isalnum() for character in text):
            raise BadRequest(field="field `input`", reason="it contains nothing that can be spoken")
        pitch_hz = 220 * (1 + self.voices.index(voice))
        for phrase in split_phrases(text):
            self.spoken.append(phrase.text)
            count = int(len(phrase.text) * 0.01 * self.sample_rate_hz / speed)
            angle = 2 * np.pi * pitch_hz * np.arange(count) / self.sample_rate_hz
            yield (0.3 * np.sin(angle)).astype(np.float32)


@dataclass
class FakeEmbedder:
    """Embeds texts as the sum of their words' vectors: texts that share words are similar."""

    dimensions: int = 384
    requests: list[list[str]] = field(default_factory=list)

    def warm_up(self) -> None: ...

    def close(self) -> None: ...

    def embed(self, texts: Sequence[str]) -> Embeddings:
        """Return the normalised sum of one pseudo-random vector per word."""
        self.requests.append(list(texts))
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
class FakeWakeWordEngine:
    """Detects a wake word in the frames of `make_frame`, and nothing in others."""

    words: Sequence[str] = ("hey_jarvis", "alexa")
    stream_count: int = 0  # opened
    frame_count: int = 0  # scored, by all streams
    gate: JobGate | None = None  # every frame waits for it

    def warm_up(self) -> None: ...

    def close(self) -> None: ...

    def open_stream(self, words: Sequence[str]) -> FakeWakeWordStream:
        self.stream_count += 1
        return FakeWakeWordStream(self, tuple(words))

    def make_frame(self, word: str, permille: int = 990) -> NDArray[np.int16]:
        """Return a frame in which `word` scores `permille`."""
        frame = np.zeros(1280, np.int16)
        frame[0], frame[1] = 1 + self.words.index(word), permille
        return frame


@dataclass
class FakeWakeWordStream:
    """Stream of a `FakeWakeWordEngine`."""

    engine: FakeWakeWordEngine
    words: Sequence[str]

    def score_frame(self, frame: NDArray[np.int16]) -> Mapping[str, float]:
        """Return the score that is encoded in the frame, and 0 for every other word."""
        if frame.shape != (1280,) or frame.dtype != np.int16:
            msg = f"a frame is (1280,) int16, not {frame.shape} {frame.dtype}"
            raise ValueError(msg)
        if self.engine.gate is not None:
            self.engine.gate.wait_until_open()
        self.engine.frame_count += 1
        number_in_frame, permille = int(frame[0]), int(frame[1])
        return {
            word: permille / 1000 if number == number_in_frame else 0.0
            for number, word in enumerate(self.engine.words, start=1)
            if word in self.words
        }


@dataclass
class JobGate:
    """Blocks an engine's jobs in `wait_until_open` until a test sets `opened`."""

    reached: threading.Event = field(default_factory=threading.Event)
    opened: threading.Event = field(default_factory=threading.Event)

    def wait_until_open(self, limit_s: float = 30) -> None:
        """Set `reached`, and block until the gate is opened; TimeoutError after `limit_s`."""
        self.reached.set()
        if not self.opened.wait(limit_s):
            msg = "the test did not open the gate"
            raise TimeoutError(msg)


@dataclass
class FakeGpuMemory:
    """GPU memory with contents that the test sets. Thread-safe."""

    total_mib: int
    held_mib: dict[str, int] = field(default_factory=dict)
    others_mib: int = 0
    error: BarnabeeError | None = None
    children: set[subprocess.Popen[bytes]] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def allocate(self, name: str, mib: int) -> None:
        with self._lock:
            self.held_mib[name] = mib

    def release(self, name: str) -> None:
        with self._lock:
            self.held_mib.pop(name, None)

    def set_other_use(self, mib: int) -> None:
        self.others_mib = mib

    def fail_with(self, error: BarnabeeError | None) -> None:
        """Make every reading fail with `error`; None ends that."""
        self.error = error

    def read(self) -> MemoryReading:
        if self.error is not None:
            raise self.error
        with self._lock:
            own_mib = sum(self.held_mib.values())
        return MemoryReading(
            self.total_mib, max(0, self.total_mib - own_mib - self.others_mib), own_mib
        )


WIDTH = 384


def make_vector(text: str) -> Vectors:
    """Return the embedding of `text`, of length 1."""
    row = np.zeros(WIDTH, dtype=np.float32)
    for word in split_words(text) or [text]:
        seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8])
        row += np.random.default_rng(seed).standard_normal(WIDTH).astype(np.float32)
    return np.asarray(row / np.linalg.norm(row), dtype=np.float32)


@dataclass(eq=False)
class FakeGpuClient:
    """Fake of `GpuClient`; fails while `is_down`."""

    is_down: bool = False
    requests: list[list[str]] = field(default_factory=list)
    # asyncio renders results of tasks: thousands of numbers took two seconds a test
    _vectors: dict[str, Vectors] = field(default_factory=dict, repr=False)

    async def embed(self, texts: Sequence[str]) -> Vectors:
        await self.ready()
        self.requests.append(list(texts))
        for text in texts:
            if text not in self._vectors:
                self._vectors[text] = make_vector(text)
        return np.stack([self._vectors[text] for text in texts])

    async def ready(self) -> None:
        if self.is_down:
            raise DependencyDown(dependency="gpu", reason="is_down is set")

    async def aclose(self) -> None: ...


def make_gpu_app() -> Starlette:
    """Return an application with the embeddings and health routes of the GPU service."""

    async def create_embeddings(request: Request) -> Response:
        body = await request.json()
        texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
        is_base64 = body.get("encoding_format") == "base64"
        rows = [
            {"object": "embedding", "index": index, "embedding": _encode(row) if is_base64 else row}
            for index, row in enumerate(make_vector(text).tolist() for text in texts)
        ]
        return JSONResponse({"object": "list", "data": rows, "model": "fake"})

    async def get_ready(_request: Request) -> Response:
        return JSONResponse({"status": "healthy", "service": "gpu", "dependencies": {}})

    return Starlette(
        routes=[
            Route("/v1/embeddings", create_embeddings, methods=["POST"]),
            Route("/health/ready", get_ready),
        ]
    )


def _encode(row: list[float]) -> str:
    return base64.b64encode(np.array(row, dtype="<f4").tobytes()).decode()
