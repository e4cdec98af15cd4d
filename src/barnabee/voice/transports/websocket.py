"""The plain transport, for satellites and tests: raw sound both ways, JSON beside it.

    binary, in    int16 mono 16 kHz, in pieces of any length, as fast as it sounds
    binary, out   int16 mono 24 kHz
    text          one JSON object: docs/reference/voice.md has them

Pipecat's FastAPI transport does the work; here are its serializer, and a socket that says why it
closes.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from pipecat.frames.frames import (
    Frame,
    InputAudioRawFrame,
    InputTransportMessageFrame,
    InterruptionFrame,
    OutputAudioRawFrame,
    OutputTransportMessageFrame,
    OutputTransportMessageUrgentFrame,
)
from pipecat.serializers.base_serializer import FrameSerializer
from pipecat.transports.websocket.fastapi import FastAPIWebsocketParams, FastAPIWebsocketTransport
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from barnabee.core.errors import BadInput, BadRequest, BarnabeeError, TooFast, TooLarge, Unavailable

HEARD_RATE_HZ = 16_000
MESSAGE_BYTES = 64 * 1024  # two seconds of sound
AHEAD_S = 5.0  # a satellite that was held up by its network may catch up
NORMAL, GOING_AWAY, NOT_UNDERSTOOD, POLICY, TOO_BIG, LATER = 1000, 1001, 1003, 1008, 1009, 1013


class TalkSocket(WebSocket):
    """A socket that closes once, with the code that goes with `why` it ends."""

    why: Callable[[], BarnabeeError | None] = staticmethod(lambda: None)

    async def close(self, code: int = NORMAL, reason: str | None = None) -> None:  # noqa: ARG002
        """Close for the reason there is; what is closed already stays closed."""
        if self.application_state is WebSocketState.DISCONNECTED:
            return
        with suppress(RuntimeError, WebSocketDisconnect):
            error = self.why()
            await super().close(close_code(error), error.code if error else "")


class RawSerializer(FrameSerializer):
    """Sound as it is, messages as JSON; what cannot be understood is told to `refuse`."""

    def __init__(
        self,
        refuse: Callable[[BarnabeeError], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin with no sound heard."""
        super().__init__()
        self._refuse, self._clock = refuse, clock
        self._odd = b""
        self._heard_until_s = 0.0

    async def serialize(self, frame: Frame) -> str | bytes | None:
        """Return what is sent for a frame; None for one that does not concern the client."""
        if isinstance(frame, OutputAudioRawFrame):
            return frame.audio
        if isinstance(frame, OutputTransportMessageUrgentFrame | OutputTransportMessageFrame):
            return json.dumps(frame.message)
        if isinstance(frame, InterruptionFrame):
            return json.dumps({"type": "stop"})
        return None

    async def deserialize(self, data: str | bytes) -> Frame | None:
        """Return the frame in a message; None, and a refusal, when there is none."""
        try:
            return self._message(data) if isinstance(data, str) else self._sound(data)
        except BarnabeeError as error:
            self._refuse(error)
            return None

    def _sound(self, data: bytes) -> Frame | None:
        if len(data) > MESSAGE_BYTES:
            raise TooLarge(field="message", limit=f"{MESSAGE_BYTES} bytes")
        sound = self._odd + data
        whole = len(sound) // 2 * 2
        sound, self._odd = sound[:whole], sound[whole:]
        if not sound:
            return None
        now_s = self._clock()
        self._heard_until_s = max(self._heard_until_s, now_s) + len(sound) / 2 / HEARD_RATE_HZ
        if self._heard_until_s - now_s > AHEAD_S:
            raise TooFast(ahead_s=round(AHEAD_S))
        return InputAudioRawFrame(sound, HEARD_RATE_HZ, 1)

    def _message(self, data: str) -> Frame:
        if len(data) > MESSAGE_BYTES:
            raise TooLarge(field="message", limit=f"{MESSAGE_BYTES} characters")
        try:
            message = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise BadRequest(field="message", reason="it is no JSON") from error
        if not isinstance(message, dict):
            raise BadRequest(field="message", reason="it is no JSON object")
        return InputTransportMessageFrame(message)


def transport(
    socket: TalkSocket, refuse: Callable[[BarnabeeError], None], rate_hz: int
) -> FastAPIWebsocketTransport:
    """Return Pipecat's transport over an accepted socket."""
    params: dict[str, Any] = {
        "audio_in_enabled": True,
        "audio_in_sample_rate": HEARD_RATE_HZ,
        "audio_out_enabled": True,
        "audio_out_sample_rate": rate_hz,
        "audio_out_end_silence_secs": 0,
        "allowed_origins": [],  # the token decides, not the page
        "serializer": RawSerializer(refuse),
    }
    return FastAPIWebsocketTransport(socket, FastAPIWebsocketParams(**params))


def close_code(error: BarnabeeError | None) -> int:
    """Return the close code (RFC 6455, 7.4.1) that goes with an error. Pure."""
    if error is None:
        return NORMAL
    if isinstance(error, TooLarge):
        return TOO_BIG
    if isinstance(error, BadRequest):
        return NOT_UNDERSTOOD
    if isinstance(error, BadInput):
        return POLICY
    return LATER if isinstance(error, Unavailable) else GOING_AWAY
