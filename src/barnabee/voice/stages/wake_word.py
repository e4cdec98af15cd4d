"""Stage 1: while the room is asleep, sound goes to the wake words and nowhere else.

A wake, the button or a reply that was just given opens it. The last seconds are kept in memory, so
that "Hey Jarvis, turn on the light" in one breath is heard from its first word on.
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

from barnabee.clients.wake import Wake, WakeClient
from barnabee.core.errors import BadRequest
from barnabee.voice.conversation import Effect, Event
from barnabee.voice.room_session import Room
from barnabee.voice.transports.loss_concealment import Gaps

BYTES_PER_MS = 32  # int16 mono 16 kHz
KEPT_MS = 4000  # a wake that is told later than this, on a busy machine, loses a beginning


class Gate(FrameProcessor):
    """Lets sound through while a turn runs, and takes what the client has to say."""

    def __init__(self, room: Room, ear: WakeClient) -> None:
        """Begin closed."""
        super().__init__(name=f"gate-{room.name}")
        self._room, self._ear = room, ear
        self._gaps = Gaps()
        self._kept = bytearray()
        self._since_ms: int | None = None
        self._wake: Wake | None = None
        room.on(Effect.BEGIN, self._begin)
        room.on(Effect.FALSELY_WOKEN, self._report)

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Handle one frame."""
        await super().process_frame(frame, direction)
        if isinstance(frame, InputAudioRawFrame):
            await self._hear(frame)
        elif isinstance(frame, InputTransportMessageFrame):
            self._take(frame.message)
        elif not isinstance(frame, InterruptionFrame):
            await self.push_frame(frame, direction)

    async def wait_for_wakes(self) -> None:
        """Tell the room of every wake, for as long as the ear is open."""
        async for wake in self._ear:
            self._wake = wake
            self._room.wake(wake.word, wake.trace_id, wake.ago_ms)

    async def _hear(self, frame: InputAudioRawFrame) -> None:
        frame.audio = self._gaps.filled(frame.audio, frame.pts)
        self._ear.hear(frame.audio)
        self._kept += frame.audio
        del self._kept[: max(0, len(self._kept) - KEPT_MS * BYTES_PER_MS)]
        if self._room.turn is None:
            return
        if self._since_ms is not None:
            since_bytes = self._since_ms * BYTES_PER_MS + len(frame.audio)
            self._since_ms = None
            frame = InputAudioRawFrame(bytes(self._kept[-since_bytes:]), frame.sample_rate, 1)
        await self.push_frame(frame)

    def _begin(self) -> None:
        if self._room.since_ms is not None:
            self._since_ms = self._room.since_ms

    def _report(self) -> None:
        if self._wake is not None:
            self._ear.false_wake(self._wake)

    def _take(self, message: Any) -> None:
        kind = message.get("type") if isinstance(message, dict) else None
        if kind == "talk" and isinstance(message.get("on"), bool):
            self._room.press(on=message["on"])
        elif kind == "false_wake":
            self._room.tell(Event.FALSE_WAKE)
        elif kind == "stop":
            self._room.tell(Event.STOP)
        else:
            reason = 'known are {"type":"talk","on":true|false}, "false_wake" and "stop"'
            error = BadRequest(field="message", reason=reason)
            self._room.say("error", **error.body(""))
