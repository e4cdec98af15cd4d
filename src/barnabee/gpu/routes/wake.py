"""WebSocket /v1/wake: a microphone's sound in, wakes out. docs/reference/wake.md is the protocol.

One message after the other and one frame after the other: while frames are computed nothing more is
read, so a sender that is ahead of the engine waits in its own socket and memory does not grow.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog
from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from starlette.websockets import WebSocketState

from barnabee.core import trace_context
from barnabee.core.errors import BadInput, BarnabeeError, TimedOut, TooLarge, Unavailable
from barnabee.gpu.engines.protocols import STT_RATE_HZ, WAKE_FRAME, Listener, WakeWords
from barnabee.gpu.wake_session import Cutter, Heard, Wanted, Watch, false_wake, wanted

if TYPE_CHECKING:
    from barnabee.core.schema import Wake
    from barnabee.gpu.capabilities import Task
    from barnabee.gpu.metrics import GpuMetrics
    from barnabee.gpu.model_lease import Use
    from barnabee.gpu.stream_limits import Place, Streams

IDLE_S = 30.0  # a microphone sends all the time; one that has been silent for so long is gone
SEND_LIMIT_S = 5.0  # a client that does not read for so long is gone
GOING_AWAY, NOT_UNDERSTOOD, POLICY, TOO_BIG, BROKEN, LATER = 1001, 1003, 1008, 1009, 1011, 1013

log = structlog.get_logger()


def router(task: Task[WakeWords], table: Wake, streams: Streams, metrics: GpuMetrics) -> APIRouter:
    """Return the route."""
    routes = APIRouter()

    @routes.websocket("/v1/wake")
    async def wake(socket: WebSocket) -> None:
        """Listen until the client goes; what is wrong before the first answer is plain HTTP."""
        try:
            chosen = wanted(socket.query_params, table)
            with streams.place() as place:
                async with task.lease(standing=True) as use:
                    chosen.require(use.engine.words)
                    stream = _Stream(socket, use, chosen, metrics, place)
                    try:
                        await stream.run()
                    except TimeoutError:
                        await _leave(socket, ending=place.ending)
        except WebSocketDisconnect:
            return
        except BarnabeeError as error:
            if socket.application_state is not WebSocketState.CONNECTED:
                raise
            await _fail(socket, error)

    return routes


@dataclass
class _Stream:
    """One microphone."""

    socket: WebSocket
    use: Use[WakeWords]
    wanted: Wanted
    metrics: GpuMetrics
    place: Place

    async def run(self) -> None:
        """Listen until the client goes; TimeoutError when nothing comes, or the service ends."""
        watch, cutter = Watch(self.wanted), Cutter()
        ear = await self.use.call(lambda: self.use.engine.listener(self.wanted.words))
        await self.socket.accept()
        async with self.place.limit:
            self.place.goes_on(IDLE_S)
            await self._send(self._ready())
            while True:
                message = await self.socket.receive()
                if message["type"] == "websocket.disconnect":
                    return
                if message.get("bytes") is not None:
                    await self._hear(message["bytes"], cutter, watch, ear)
                else:
                    word = false_wake(message.get("text") or "", watch)
                    self.metrics.false_wakes.labels(word, self.wanted.label).inc()
                    log.info("false_wake", stage="wake", word=word, room=self.wanted.room)

    async def _hear(self, sound: bytes, cutter: Cutter, watch: Watch, ear: Listener) -> None:
        for frame in cutter.add(sound):
            scores = await self.use.call(lambda frame=frame: ear.hear(frame))  # type: ignore[misc]
            self._count()
            heard = watch.hear(scores)
            if heard:
                await self._send(self._woken(heard))
        if sound:
            self.place.goes_on(IDLE_S)

    def _count(self) -> None:
        # A use lasts for days here: each frame is counted for itself, not the sum at the end.
        self.metrics.wake_frame.observe(self.use.queue_s + self.use.inference_s)
        labels = self.use.slot.task, self.use.slot.model
        self.metrics.audio.labels(*labels).inc(WAKE_FRAME / STT_RATE_HZ)
        self.use.queue_s = self.use.inference_s = 0.0

    def _ready(self) -> dict[str, Any]:
        return {
            "type": "ready",
            "room": self.wanted.room,
            "words": self.wanted.words,
            "threshold": self.wanted.threshold_permille,
            "pause_ms": self.wanted.pause_ms,
            "engine": self.use.slot.model,
            "trace_id": trace_context.current(),
        }

    def _woken(self, heard: Heard) -> dict[str, Any]:
        trace_id = trace_context.new_trace_id()  # of the turn that begins here
        score = round(heard.score, 4)
        self.metrics.wakes.labels(heard.word, self.wanted.label).inc()
        fields = {"word": heard.word, "score": score, "at_ms": heard.at_ms}
        log.info("wake", stage="wake", room=self.wanted.room, trace_id=trace_id, **fields)
        return {"type": "wake", **fields, "trace_id": trace_id}

    async def _send(self, message: dict[str, Any]) -> None:
        try:
            async with asyncio.timeout(SEND_LIMIT_S):
                await self.socket.send_json(message)
        except TimeoutError as error:
            limit_ms = round(SEND_LIMIT_S * 1000)
            raise TimedOut(what="a client that does not read", limit_ms=limit_ms) from error


async def _leave(socket: WebSocket, *, ending: bool) -> None:
    """End a stream whose time is over: the service ends, or the microphone has fallen silent."""
    if not ending:
        raise TimedOut(what="waiting for sound", limit_ms=round(IDLE_S * 1000))
    with suppress(WebSocketDisconnect, TimeoutError):
        async with asyncio.timeout(SEND_LIMIT_S):
            await socket.close(GOING_AWAY, "the service is ending")


async def _fail(socket: WebSocket, error: BarnabeeError) -> None:
    socket.scope["barnabee.code"] = error.code
    with suppress(WebSocketDisconnect, TimeoutError):
        async with asyncio.timeout(SEND_LIMIT_S):
            await socket.send_json({"type": "error", **error.body(trace_context.current())})
            await socket.close(close_code(error), error.code)


def close_code(error: BarnabeeError) -> int:
    """Return the WebSocket close code (RFC 6455, 7.4.1) that goes with an error. Pure."""
    if isinstance(error, TooLarge):
        return TOO_BIG
    if isinstance(error, BadInput):
        return NOT_UNDERSTOOD
    if isinstance(error, TimedOut):
        return POLICY
    return LATER if isinstance(error, Unavailable) else BROKEN
