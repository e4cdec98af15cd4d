"""WebSocket /v1/wake: audio in, wake word detections out. Protocol: docs/reference/wake.md.

Messages and frames are handled one at a time and nothing is read meanwhile, so that a client that
sends faster than the engine computes is held back by TCP and memory does not grow.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import structlog
from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from starlette.websockets import WebSocketState

from barnabee.audio.samples import STT_RATE_HZ
from barnabee.core import tracing
from barnabee.core.errors import (
    BadInput,
    BarnabeeError,
    DependencyDown,
    Overloaded,
    TimedOut,
    TooLarge,
    Unavailable,
)
from barnabee.gpu.engines.base import WAKE_FRAME_SAMPLES, WakeWordEngine, WakeWordStream
from barnabee.gpu.wake_session import (
    FrameSplitter,
    WakeDetection,
    WakeDetector,
    WakeRequest,
    parse_false_wake,
    parse_wake_request,
)

if TYPE_CHECKING:
    from barnabee.core.schema import WakeConfig
    from barnabee.gpu.capabilities import Capability
    from barnabee.gpu.metrics import GpuMetrics
    from barnabee.gpu.model_lease import ModelLease

IDLE_TIMEOUT_S = 30.0  # microphones send all the time; a silent client has disconnected
SEND_TIMEOUT_S = 5.0
CLOSE_TIMEOUT_S = 0.5
# close codes of RFC 6455, 7.4.1
GOING_AWAY, UNSUPPORTED_DATA, POLICY_VIOLATION = 1001, 1003, 1008
MESSAGE_TOO_BIG, INTERNAL_ERROR, TRY_AGAIN_LATER = 1009, 1011, 1013

log = structlog.get_logger()


@dataclass(eq=False)
class OpenStream:
    """Deadline of one stream, which is also how the service ends it: TimeoutError in `timeout`."""

    timeout: asyncio.Timeout = field(default_factory=lambda: asyncio.timeout(None))
    is_closing: bool = False

    def extend(self, within_s: float) -> None:
        """Move the deadline to `within_s` from now."""
        if not self.is_closing:
            self.timeout.reschedule(asyncio.get_running_loop().time() + within_s)

    def close(self) -> None:
        self.is_closing = True
        with suppress(RuntimeError):  # not entered yet, or exited already
            self.timeout.reschedule(0)


class StreamLimiter:
    """Limits the number of open streams, and closes all of them at shutdown."""

    def __init__(self, max_streams: int, on_change: Callable[[int], None]) -> None:
        """`on_change` receives the number of open streams whenever it changes."""
        self._max_streams, self._on_change = max_streams, on_change
        self._is_closing = False
        self._streams: set[OpenStream] = set()
        self._empty = asyncio.Event()
        self._empty.set()

    @contextmanager
    def open(self) -> Iterator[OpenStream]:
        """Register a stream; Overloaded at the limit, DependencyDown during shutdown."""
        if self._is_closing:
            raise DependencyDown(dependency="wake", reason="the service is stopping")
        if len(self._streams) >= self._max_streams:
            what = f"wake ({self._max_streams} streams are open)"
            raise Overloaded(what=what, retry_after_s=5)
        stream = OpenStream()
        self._streams.add(stream)
        self._update()
        try:
            yield stream
        finally:
            self._streams.discard(stream)
            self._update()

    async def close_all(self) -> None:
        """Refuse new streams, close the open ones and wait up to CLOSE_TIMEOUT_S for them."""
        self._is_closing = True
        for stream in self._streams:
            stream.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._empty.wait()

    def _update(self) -> None:
        self._on_change(len(self._streams))
        if self._streams:
            self._empty.clear()
        else:
            self._empty.set()


def make_router(
    capability: Capability[WakeWordEngine],
    config: WakeConfig,
    limiter: StreamLimiter,
    metrics: GpuMetrics,
) -> APIRouter:
    routes = APIRouter()

    @routes.websocket("/v1/wake")
    async def stream_wake_words(socket: WebSocket) -> None:
        """Serve a stream until the client leaves; errors before `ready` are HTTP responses."""
        try:
            request = parse_wake_request(socket.query_params, config)
            with limiter.open() as stream:
                async with capability.lease(standing=True) as lease:
                    request.check_words(lease.engine.words)
                    try:
                        await _Session(socket, lease, request, metrics, stream).run()
                    except TimeoutError:
                        await _end_session(socket, is_closing=stream.is_closing)
        except WebSocketDisconnect:
            return
        except BarnabeeError as error:
            if socket.application_state is not WebSocketState.CONNECTED:
                raise
            await _send_error(socket, error)

    return routes


@dataclass
class _Session:
    """One client's stream."""

    socket: WebSocket
    lease: ModelLease[WakeWordEngine]
    request: WakeRequest
    metrics: GpuMetrics
    stream: OpenStream

    async def run(self) -> None:
        """Serve until the client leaves; TimeoutError when it falls silent or at shutdown."""
        detector, splitter = WakeDetector(self.request), FrameSplitter()
        scorer = await self.lease.run(lambda: self.lease.engine.open_stream(self.request.words))
        await self.socket.accept()
        async with self.stream.timeout:
            self.stream.extend(IDLE_TIMEOUT_S)
            await self._send(self._make_ready_message())
            while True:
                message = await self.socket.receive()
                if message["type"] == "websocket.disconnect":
                    return
                if message.get("bytes") is not None:
                    await self._process_audio(message["bytes"], splitter, detector, scorer)
                else:
                    word = parse_false_wake(message.get("text") or "", detector)
                    self.metrics.false_wakes.labels(word, self.request.room_label).inc()
                    log.info("false_wake", stage="wake", word=word, room=self.request.room)

    async def _process_audio(
        self, audio: bytes, splitter: FrameSplitter, detector: WakeDetector, scorer: WakeWordStream
    ) -> None:
        for frame in splitter.split(audio):
            scores = await self.lease.run(lambda frame=frame: scorer.score_frame(frame))  # type: ignore[misc]
            self._record_frame()
            detection = detector.process(scores)
            if detection:
                await self._send(self._report_detection(detection))
        if audio:
            self.stream.extend(IDLE_TIMEOUT_S)

    def _record_frame(self) -> None:
        # The lease lasts as long as the stream, so its times are recorded and reset per frame.
        self.metrics.wake_frame.observe(self.lease.queue_s + self.lease.inference_s)
        labels = self.lease.runtime.task, self.lease.runtime.model_id
        self.metrics.audio.labels(*labels).inc(WAKE_FRAME_SAMPLES / STT_RATE_HZ)
        self.lease.queue_s = self.lease.inference_s = 0.0

    def _make_ready_message(self) -> dict[str, Any]:
        return {
            "type": "ready",
            "room": self.request.room,
            "words": self.request.words,
            "threshold": self.request.threshold_permille,
            "pause_ms": self.request.pause_ms,
            "engine": self.lease.runtime.model_id,
            "trace_id": tracing.get_trace_id(),
        }

    def _report_detection(self, detection: WakeDetection) -> dict[str, Any]:
        """Count and log a detection; return the message, with the trace id of the turn it opens."""
        trace_id = tracing.new_trace_id()
        self.metrics.wakes.labels(detection.word, self.request.room_label).inc()
        score = round(detection.score, 4)
        fields = {"word": detection.word, "score": score, "at_ms": detection.at_ms}
        log.info("wake", stage="wake", room=self.request.room, trace_id=trace_id, **fields)
        return {"type": "wake", **fields, "trace_id": trace_id}

    async def _send(self, message: dict[str, Any]) -> None:
        try:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                await self.socket.send_json(message)
        except TimeoutError as error:
            limit_ms = round(SEND_TIMEOUT_S * 1000)
            raise TimedOut(what="sending to the client", limit_ms=limit_ms) from error


async def _end_session(socket: WebSocket, *, is_closing: bool) -> None:
    """Close the socket at shutdown; raise TimedOut when the client sent no audio."""
    if not is_closing:
        raise TimedOut(what="waiting for audio", limit_ms=round(IDLE_TIMEOUT_S * 1000))
    with suppress(WebSocketDisconnect, TimeoutError):
        async with asyncio.timeout(SEND_TIMEOUT_S):
            await socket.close(GOING_AWAY, "the service is stopping")


async def _send_error(socket: WebSocket, error: BarnabeeError) -> None:
    socket.scope["barnabee.code"] = error.code
    with suppress(WebSocketDisconnect, TimeoutError):
        async with asyncio.timeout(SEND_TIMEOUT_S):
            await socket.send_json({"type": "error", **error.body(tracing.get_trace_id())})
            await socket.close(choose_close_code(error), error.code)


def choose_close_code(error: BarnabeeError) -> int:
    """Return the WebSocket close code of an error. Pure."""
    if isinstance(error, TooLarge):
        return MESSAGE_TOO_BIG
    if isinstance(error, BadInput):
        return UNSUPPORTED_DATA
    if isinstance(error, TimedOut):
        return POLICY_VIOLATION
    return TRY_AGAIN_LATER if isinstance(error, Unavailable) else INTERNAL_ERROR
