"""Speech-to-text stage: transcribes in a pause, before the end of the turn is certain.

The speculative transcript helps to find the endpoint; it is discarded when the user resumes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

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
from barnabee.voice.room_events import ConversationState, RoomEvent

if TYPE_CHECKING:
    from barnabee.clients.gpu import GpuClient
    from barnabee.voice.fillers import LatencyEstimator
    from barnabee.voice.room_session import RoomSession
    from barnabee.voice.turn import Turn

RATE_HZ = 16_000


class SttStage(FrameProcessor):
    """Transcribes utterances with the inference service."""

    def __init__(
        self,
        room: RoomSession,
        gpu: GpuClient,
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
        self._transcription: asyncio.Task[str | BarnabeeError] | None = None
        self._completion: asyncio.Task[None] | None = None

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

    def _discard(self) -> None:
        for task in (self._transcription, self._completion):
            if task is not None:
                task.cancel()
        self._transcription = self._completion = None

    async def _transcribe(self, turn: Turn, pcm: bytes) -> str | BarnabeeError:
        started_s = turn.clock()
        try:
            transcript = await self._gpu.transcribe(wav.encode(pcm, RATE_HZ))
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
