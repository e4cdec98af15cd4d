"""WebSocket transport for satellites and tests: raw PCM both ways, with JSON messages.

    binary, in    16-bit mono PCM, 16 kHz, in messages of any length, in real time
    binary, out   16-bit mono PCM, 24 kHz
    text          one JSON object: docs/reference/voice.md has them

Adds a serializer and close codes to Pipecat's FastAPI transport.
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

from barnabee.core.errors import (
    AudioTooFast,
    BadInput,
    BadRequest,
    BarnabeeError,
    TooLarge,
    Unavailable,
)

INPUT_RATE_HZ = 16_000
MAX_MESSAGE_BYTES = 64 * 1024  # two seconds of audio
MAX_AHEAD_S = 5.0  # so that a satellite can catch up after a network delay
NORMAL, GOING_AWAY, UNSUPPORTED_DATA = 1000, 1001, 1003
POLICY_VIOLATION, MESSAGE_TOO_BIG, TRY_AGAIN_LATER = 1008, 1009, 1013


class TalkSocket(WebSocket):
    """WebSocket that closes once, with the close code of its reason."""

    get_close_reason: Callable[[], BarnabeeError | None] = staticmethod(lambda: None)

    async def close(self, code: int = NORMAL, reason: str | None = None) -> None:  # noqa: ARG002
        """Close with the code of `get_close_reason`; no effect when closed already."""
        if self.application_state is WebSocketState.DISCONNECTED:
            return
        with suppress(RuntimeError, WebSocketDisconnect):
            error = self.get_close_reason()
            await super().close(choose_close_code(error), error.code if error else "")


class RawAudioSerializer(FrameSerializer):
    """Passes PCM through and encodes messages as JSON; `refuse` receives protocol errors."""

    def __init__(
        self,
        refuse: Callable[[BarnabeeError], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._refuse, self._clock = refuse, clock
        self._odd_byte = b""
        self._received_until_s = 0.0

    async def serialize(self, frame: Frame) -> str | bytes | None:
        """Return the message for a frame; None for one that is not sent to the client."""
        if isinstance(frame, OutputAudioRawFrame):
            return frame.audio
        if isinstance(frame, OutputTransportMessageUrgentFrame | OutputTransportMessageFrame):
            return json.dumps(frame.message)
        if isinstance(frame, InterruptionFrame):
            return json.dumps({"type": "stop"})
        return None

    async def deserialize(self, data: str | bytes) -> Frame | None:
        """Return the frame of a message, or None after a call of `refuse`."""
        try:
            return self._parse_message(data) if isinstance(data, str) else self._parse_audio(data)
        except BarnabeeError as error:
            self._refuse(error)
            return None

    def _parse_audio(self, data: bytes) -> Frame | None:
        if len(data) > MAX_MESSAGE_BYTES:
            raise TooLarge(field="message", limit=f"{MAX_MESSAGE_BYTES} bytes")
        pcm = self._odd_byte + data
        whole = len(pcm) // 2 * 2
        pcm, self._odd_byte = pcm[:whole], pcm[whole:]
        if not pcm:
            return None
        now_s = self._clock()
        self._received_until_s = max(self._received_until_s, now_s) + len(pcm) / 2 / INPUT_RATE_HZ
        if self._received_until_s - now_s > MAX_AHEAD_S:
            raise AudioTooFast(ahead_s=round(MAX_AHEAD_S))
        return InputAudioRawFrame(pcm, INPUT_RATE_HZ, 1)

    def _parse_message(self, data: str) -> Frame:
        if len(data) > MAX_MESSAGE_BYTES:
            raise TooLarge(field="message", limit=f"{MAX_MESSAGE_BYTES} characters")
        try:
            message = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise BadRequest(field="message", reason="it is not JSON") from error
        if not isinstance(message, dict):
            raise BadRequest(field="message", reason="it is not a JSON object")
        return InputTransportMessageFrame(message)


def make_transport(
    socket: TalkSocket, refuse: Callable[[BarnabeeError], None], rate_hz: int
) -> FastAPIWebsocketTransport:
    params: dict[str, Any] = {
        "audio_in_enabled": True,
        "audio_in_sample_rate": INPUT_RATE_HZ,
        "audio_out_enabled": True,
        "audio_out_sample_rate": rate_hz,
        "audio_out_end_silence_secs": 0,
        "allowed_origins": [],  # access is controlled by the token
        "serializer": RawAudioSerializer(refuse),
    }
    return FastAPIWebsocketTransport(socket, FastAPIWebsocketParams(**params))


def choose_close_code(error: BarnabeeError | None) -> int:
    """Return the close code (RFC 6455, 7.4.1) of an error. Pure."""
    if error is None:
        return NORMAL
    if isinstance(error, TooLarge):
        return MESSAGE_TOO_BIG
    if isinstance(error, BadRequest):
        return UNSUPPORTED_DATA
    if isinstance(error, BadInput):
        return POLICY_VIOLATION
    return TRY_AGAIN_LATER if isinstance(error, Unavailable) else GOING_AWAY
