"""Wake-word stage: while the room is asleep, audio is sent to wake-word detection only.

Recent audio is buffered, so that a turn also contains what was said before its wake word was
reported ("Hey Jarvis, turn on the light" in one breath).
"""

from __future__ import annotations

from typing import Any

from pipecat.frames.frames import (
    Frame,
    InputAudioRawFrame,
    InputTransportMessageFrame,
    InterruptionFrame,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor

from barnabee.clients.wake import DetectedWakeWord, WakeClient
from barnabee.core.errors import BadRequest
from barnabee.voice.room_events import Effect, RoomEvent
from barnabee.voice.room_session import RoomSession
from barnabee.voice.transports.webrtc import PacketLossConcealment

BYTES_PER_MS = 32  # int16 mono 16 kHz
PRE_ROLL_MS = 4000  # a wake word reported later than this loses the start of the turn


class WakeWordStage(FrameProcessor):
    """Passes audio on while a turn runs, and handles the messages of the client."""

    def __init__(self, room: RoomSession, wake_client: WakeClient) -> None:
        super().__init__(name=f"wake-word-{room.name}")
        self._room, self._wake_client = room, wake_client
        self._concealment = PacketLossConcealment()
        self._pre_roll = bytearray()
        self._pre_roll_ms: int | None = None
        self._wake: DetectedWakeWord | None = None
        room.on(Effect.BEGIN_TURN, self._start_turn)
        room.on(Effect.REPORT_FALSE_WAKE, self._report_false_wake)

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, InputAudioRawFrame):
            await self._process_audio(frame)
        elif isinstance(frame, InputTransportMessageFrame):
            self._handle_message(frame.message)
        elif not isinstance(frame, InterruptionFrame):
            await self.push_frame(frame, direction)

    async def receive_wakes(self) -> None:
        """Start a turn for every detected wake word, until the client is closed."""
        async for wake in self._wake_client:
            self._wake = wake
            self._room.start_from_wake_word(wake.word, wake.trace_id, wake.ago_ms)

    async def _process_audio(self, frame: InputAudioRawFrame) -> None:
        frame.audio = self._concealment.fill_gap(frame.audio, frame.pts)
        self._wake_client.send_audio(frame.audio)
        self._pre_roll += frame.audio
        del self._pre_roll[: max(0, len(self._pre_roll) - PRE_ROLL_MS * BYTES_PER_MS)]
        if self._room.turn is None:
            return
        if self._pre_roll_ms is not None:
            length = self._pre_roll_ms * BYTES_PER_MS + len(frame.audio)
            self._pre_roll_ms = None
            frame = InputAudioRawFrame(bytes(self._pre_roll[-length:]), frame.sample_rate, 1)
        await self.push_frame(frame)

    def _start_turn(self) -> None:
        if self._room.pre_roll_ms is not None:
            self._pre_roll_ms = self._room.pre_roll_ms

    def _report_false_wake(self) -> None:
        if self._wake is not None:
            self._wake_client.report_false_wake(self._wake)

    def _handle_message(self, message: Any) -> None:
        kind = message.get("type") if isinstance(message, dict) else None
        if kind == "talk" and isinstance(message.get("on"), bool):
            self._room.set_button(on=message["on"])
        elif kind == "false_wake":
            self._room.dispatch(RoomEvent.FALSE_WAKE_REPORTED)
        elif kind == "stop":
            self._room.dispatch(RoomEvent.STOP)
        else:
            reason = 'known types: {"type":"talk","on":true|false}, "false_wake" and "stop"'
            error = BadRequest(field="message", reason=reason)
            self._room.send_message("error", **error.body(""))
