"""Which engine serves which task, and how each is: loading, ready, failed.

The place where the ledger of the card will stand: everybody who wants an engine takes a lease, and
a lease is where memory will be asked for. Until then every engine is resident once it is loaded.
Knows engines only by their protocols.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Generic, TypeVar

import structlog

from barnabee.core.errors import BarnabeeError, Loading
from barnabee.gpu.engines.protocols import Embedder, Engine, SpeechToText, TextToSpeech
from barnabee.gpu.lane import Lane
from barnabee.gpu.metrics import GpuMetrics
from barnabee.gpu.use import Use

E = TypeVar("E", bound=Engine)
T = TypeVar("T")
RETRY_FIRST_S = 5.0
RETRY_MAX_S = 60.0

log = structlog.get_logger()


class State(StrEnum):
    """How an engine is."""

    LOADING = "loading"
    READY = "ready"
    FAILED = "failed"


@dataclass
class Slot(Generic[E]):
    """A task, the engine that serves it, and the line in front of it."""

    task: str
    model: str  # the name of its files, which is also its id in the API
    make: Callable[[], E]
    metrics: GpuMetrics
    aliases: frozenset[str] = frozenset()
    state: State = State.LOADING
    error: BarnabeeError | None = None
    lane: Lane = field(init=False)
    _engine: E | None = None

    def __post_init__(self) -> None:
        """Make the line."""
        self.lane = Lane(self.model)

    def check(self) -> E:
        """Return the engine; Loading, or the error it failed with."""
        if self._engine is not None:
            return self._engine
        raise self.error or Loading(what=self.model, retry_after_s=1)

    @asynccontextmanager
    async def lease(self) -> AsyncIterator[Use[E]]:
        """Use the engine; times and the log line are written when the use ends."""
        use = Use(self.check(), self.lane)
        try:
            yield use
        finally:
            if use.inference_s:
                self.metrics.record(self.task, self.model, use)
                log.info(
                    "inference",
                    stage=self.task,
                    engine=self.model,
                    latency_ms=round((use.queue_s + use.inference_s) * 1000, 2),
                    queue_ms=round(use.queue_s * 1000, 2),
                    audio_s=use.audio_s and round(use.audio_s, 2),
                )

    async def keep(self) -> None:
        """Load the engine; while that fails, try again with growing pauses."""
        pause_s = RETRY_FIRST_S
        while not await self.load():
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, RETRY_MAX_S)

    async def load(self) -> bool:
        """Load the engine and let it do one inference; return whether it is ready."""
        begun = time.perf_counter()
        try:
            self._engine = (await self.lane.run(self._make_and_warm_up)).value
        except BarnabeeError as error:
            if self.error is None or str(self.error) != str(error):
                said = str(error)  # the sentence is meant for people; a traceback would hide it
                log.error("model failed", code=error.code, engine=self.model, message=said)  # noqa: TRY400
            self.state, self.error = State.FAILED, error
            return False
        self.state, self.error = State.READY, None
        seconds = time.perf_counter() - begun
        self.metrics.load_seconds.labels(self.task, self.model).set(seconds)
        log.info(
            "model ready", stage="load", engine=self.model, latency_ms=round(seconds * 1000, 1)
        )
        return True

    def _make_and_warm_up(self) -> E:
        engine = self.make()
        engine.warm_up()
        return engine


@dataclass(frozen=True)
class Slots:
    """The engines of this service by task."""

    stt: Slot[SpeechToText]
    tts: Slot[TextToSpeech]
    embed: Slot[Embedder]

    def all(self) -> tuple[Slot[SpeechToText] | Slot[TextToSpeech] | Slot[Embedder], ...]:
        """Return every slot."""
        return (self.stt, self.tts, self.embed)
