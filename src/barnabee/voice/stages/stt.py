"""Speech-to-text stage: transcribes in a pause, before the end of the turn is certain.

The speculative transcript helps to find the endpoint; it is discarded when the user resumes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

import structlog
from pipecat.frames.frames import Frame
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor

from barnabee.audio import wav
from barnabee.core.errors import BadInput, BarnabeeError, Unavailable
from barnabee.voice.frames import (
    EndOfTurnFrame,
    ReplyFrame,
    TranscriptFrame,
    UserResumedFrame,
    UtteranceFrame,
)
from barnabee.voice.playback import strip_wake_word
from barnabee.voice.room_events import ConversationState, Effect, RoomEvent

if TYPE_CHECKING:
    from barnabee.clients.api import ApiClient
    from barnabee.clients.gpu import GpuClient
    from barnabee.voice.fillers import LatencyEstimator
    from barnabee.voice.room_session import RoomSession
    from barnabee.voice.turn import Turn

RATE_HZ = 16_000

log = structlog.get_logger()


class SttStage(FrameProcessor):
    """Transcribes utterances with the inference service."""

    def __init__(
        self,
        room: RoomSession,
        gpu: GpuClient,
        api: ApiClient,
        estimator: LatencyEstimator,
        wake_words: tuple[str, ...],
        on_transcript: Callable[[Turn, str], None],
        *,
        is_recorded: bool = False,
    ) -> None:
        """Pass speculative transcripts to `on_transcript`, and keep the audio if `is_recorded`."""
        super().__init__(name=f"stt-{room.name}")
        self._room, self._gpu, self._estimator = room, gpu, estimator
        self._wake_words, self._is_recorded = wake_words, is_recorded
        self._on_transcript = on_transcript
        self._api = api
        self._names: list[str] = []  # that may be said in this room
        self._reading: asyncio.Task[None] | None = None  # of the names
        self._transcription: asyncio.Task[str | BarnabeeError] | None = None
        self._completion: asyncio.Task[None] | None = None
        room.on(Effect.BEGIN_TURN, self._start_turn)

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, UtteranceFrame):
            self._discard()
            if self._is_recorded:
                frame.turn.audio = frame.pcm
            self._transcription = frame.turn.spawn(self._transcribe(frame.turn, frame.pcm))
        elif isinstance(frame, UserResumedFrame):
            self._discard()
            await self.push_frame(frame)
        elif isinstance(frame, EndOfTurnFrame):
            if self._transcription is not None and self._transcription.done():
                frame.turn.mark("transcript")  # tells the command stage that STT takes no more time
            await self.push_frame(frame)
            if self._transcription is not None:
                self._completion = frame.turn.spawn(self._complete(frame.turn, self._transcription))
            else:
                self._room.dispatch(RoomEvent.NO_SPEECH_RECOGNIZED, frame.turn)
        else:
            await self.push_frame(frame, direction)

    def _start_turn(self) -> None:
        if self._room.turn is not None:
            self._reading = self._room.turn.spawn(self._read_names())

    async def _read_names(self) -> None:
        try:
            self._names = await self._api.read_names(self._room.name)
        except (Unavailable, BadInput) as error:
            log.info("names_not_read", code=error.code, reason=str(error))

    def _discard(self) -> None:
        for task in (self._transcription, self._completion):
            if task is not None:
                task.cancel()
        self._transcription = self._completion = None

    async def _transcribe(self, turn: Turn, pcm: bytes) -> str | BarnabeeError:
        if self._reading is not None:  # since the turn began, so it takes no time here
            await asyncio.wait([self._reading])
        started_s = turn.clock()
        try:
            transcript = await self._gpu.transcribe(wav.encode(pcm, RATE_HZ), names=self._names)
        except (Unavailable, BadInput) as error:
            return error
        turn.engine = transcript.engine
        self._estimator.add_sample("stt", (turn.clock() - started_s) * 1000)
        self._on_transcript(turn, strip_wake_word(transcript.text, self._wake_words))
        return transcript.text

    async def _complete(self, turn: Turn, transcription: asyncio.Task[str | BarnabeeError]) -> None:
        transcript = await transcription
        if self._room.state is not ConversationState.THINKING:  # the user resumed meanwhile
            return
        self._transcription = None
        if not await self._room.is_wake_confirmed():
            return  # the room falls asleep
        turn.mark("transcript")
        if isinstance(transcript, BarnabeeError):
            self._room.dispatch(RoomEvent.TRANSCRIBED, turn)
            self._room.report_failure(transcript, turn)
            await self.push_frame(ReplyFrame(turn, trouble="stt_failed"))
            return
        turn.utterance = strip_wake_word(transcript, self._wake_words)
        if not turn.utterance:
            self._room.dispatch(RoomEvent.NO_SPEECH_RECOGNIZED, turn)
            return
        self._room.send_message("transcript", text=turn.utterance, trace_id=turn.trace_id)
        self._room.dispatch(RoomEvent.TRANSCRIBED, turn)
        await self.push_frame(TranscriptFrame(turn, turn.utterance))
