"""Wake-word stage: while the room is asleep, audio is sent to wake-word detection only.

Recent audio is buffered, so that a turn also contains what was said before its wake word was
reported ("Hey Jarvis, turn on the light" in one breath).
"""

from __future__ import annotations

import asyncio
from typing import Any

import structlog
from pipecat.frames.frames import (
    Frame,
    InputAudioRawFrame,
    InputTransportMessageFrame,
    InterruptionFrame,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor

from barnabee.audio import wav
from barnabee.clients.gpu import GpuClient
from barnabee.clients.wake import DetectedWakeWord, WakeClient
from barnabee.core import tracing
from barnabee.core.errors import BadInput, BadRequest, Unavailable
from barnabee.voice.playback import resembles_wake_word
from barnabee.voice.room_events import Effect, RoomEvent
from barnabee.voice.room_session import RoomSession
from barnabee.voice.transports.webrtc import PacketLossConcealment

BYTES_PER_MS = 32  # int16 mono 16 kHz
RATE_HZ = 16_000
PRE_ROLL_MS = 4000  # a wake word reported later than this loses the start of the turn
# The audio that is transcribed to check a wake word, before and after its end. The detection often
# comes before the end of the last syllable.
CHECK_BEFORE_MS, CHECK_AFTER_MS = 1600, 300

log = structlog.get_logger()


class WakeWordStage(FrameProcessor):
    """Passes audio on while a turn runs, and handles the messages of the client."""

    def __init__(
        self, room: RoomSession, wake_client: WakeClient, gpu: GpuClient | None = None
    ) -> None:
        """With `gpu`, the transcript of a wake word's audio must resemble it."""
        super().__init__(name=f"wake-word-{room.name}")
        self._room, self._wake_client, self._gpu = room, wake_client, gpu
        self._concealment = PacketLossConcealment()
        self._pre_roll = bytearray()
        self._received_bytes = 0
        self._has_audio = asyncio.Event()
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
            self._wake, before = wake, self._room.turn
            self._room.start_from_wake_word(wake.word, wake.trace_id, wake.ago_ms)
            if self._gpu is not None and self._room.turn is not before:
                check = asyncio.create_task(self._check_wake(wake, self._gpu))
                self._room.set_wake_check(check)

    async def _check_wake(self, wake: DetectedWakeWord, gpu: GpuClient) -> bool:
        """Return whether STT reads the wake word in its audio; if not, the room falls asleep.

        When STT fails the wake word counts: the assistant must not become deaf.
        """
        tracing.trace_id_var.set(wake.trace_id)
        await self._wait_for_audio(CHECK_AFTER_MS - wake.ago_ms)
        length_ms = CHECK_BEFORE_MS + max(wake.ago_ms, CHECK_AFTER_MS)
        pcm = bytes(self._pre_roll[-length_ms * BYTES_PER_MS :])
        try:
            transcript = await gpu.transcribe(wav.encode(pcm, RATE_HZ))
        except (Unavailable, BadInput) as error:
            log.warning("wake_not_checked", code=error.code, reason=str(error))
            return True
        is_confirmed = resembles_wake_word(transcript.text, wake.word)
        if not is_confirmed:
            log.info("wake_rejected", stage="wake", room=self._room.name, trace_id=wake.trace_id)
            self._room.dispatch(RoomEvent.FALSE_WAKE_REPORTED)
        return is_confirmed

    async def _wait_for_audio(self, missing_ms: int) -> None:
        """Wait until this much more audio was received."""
        until = self._received_bytes + missing_ms * BYTES_PER_MS
        while self._received_bytes < until:
            self._has_audio.clear()
            await self._has_audio.wait()

    async def _process_audio(self, frame: InputAudioRawFrame) -> None:
        frame.audio = self._concealment.fill_gap(frame.audio, frame.pts)
        self._wake_client.send_audio(frame.audio)
        self._pre_roll += frame.audio
        self._received_bytes += len(frame.audio)
        self._has_audio.set()
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
