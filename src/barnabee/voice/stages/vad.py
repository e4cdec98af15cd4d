"""Voice activity stage: turns audio into utterances and decides the end of the turn.

Silero gives the speech probability of each window, `voice.vad` turns it into events, and
`voice.vad` decides in a pause, with smart-turn and the speculative transcript, whether the
turn has ended. `UserResumedFrame` voids an utterance, and even an end of turn until its transcript
is known.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
from pipecat.frames.frames import Frame, InputAudioRawFrame
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor

from barnabee.voice.frames import EndOfTurnFrame, UserResumedFrame, UtteranceFrame
from barnabee.voice.playback import EchoDetector
from barnabee.voice.room_events import ConversationState, Effect, RoomEvent
from barnabee.voice.room_session import RoomSession
from barnabee.voice.turn import Turn
from barnabee.voice.vad import (
    WINDOW_MS,
    WINDOW_SAMPLES,
    EndpointAction,
    EndpointCandidate,
    SpeechProbability,
    TurnAnalyzer,
    TurnVerdict,
    VadEvent,
    VoiceActivityDetector,
    choose_action,
    is_complete_sentence,
)

WINDOW_BYTES = WINDOW_SAMPLES * 2
# A button is released early, and its message overtakes audio that is still in transit.
TRAILING_WINDOWS = 6  # 192 ms
MAX_TRAILING_S = 0.4


class VadStage(FrameProcessor):
    """Consumes the audio and emits utterances, resumptions and the end of the turn."""

    def __init__(
        self,
        room: RoomSession,
        get_probability: SpeechProbability,
        turn_analyzer: TurnAnalyzer,
        echo: EchoDetector,
    ) -> None:
        super().__init__(name=f"vad-{room.name}")
        self._room, self._get_probability = room, get_probability
        self._turn_analyzer, self._echo = turn_analyzer, echo
        self._detector = VoiceActivityDetector(room.talk)
        self._partial_window = b""
        self._audio = bytearray()  # of the utterance, and a pre-roll
        self._analysis: asyncio.Task[Any] | None = None
        self._candidate = EndpointCandidate()
        self._ended_turn: Turn | None = None
        self._window_count = 0
        self._window_added = asyncio.Event()
        room.on(Effect.BEGIN_TURN, self._start_turn)
        room.on(Effect.FORCE_ENDPOINT, self._force_endpoint)

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if not isinstance(frame, InputAudioRawFrame):
            await self.push_frame(frame, direction)
            return
        self._partial_window += frame.audio
        while len(self._partial_window) >= WINDOW_BYTES:
            window = self._partial_window[:WINDOW_BYTES]
            self._partial_window = self._partial_window[WINDOW_BYTES:]
            await self._process_window(window)

    async def _process_window(self, window: bytes) -> None:
        samples = np.frombuffer(window, "<i2").astype(np.float32) / np.float32(32768)
        self._echo.add_recorded(samples)
        self._window_count += 1
        self._window_added.set()
        self._audio += window
        state = self._room.state
        if self._detector.is_turn_ended and not self._room.can_resume:
            self._detector.reset()  # further speech starts a new utterance
        is_closed = state is ConversationState.THINKING and not self._room.can_barge_in
        if self._room.turn is None or (is_closed and not self._detector.is_turn_ended):
            self._trim_pre_roll()
            return
        event = self._detector.process_window(
            self._measure_speech_permille(window),
            is_assistant_speaking=self._room.can_barge_in,
        )
        if not self._detector.is_speaking:
            self._trim_pre_roll()
        if event:
            await self._handle_vad_event(event)
        await self._advance_endpointing()

    def add_transcript(self, turn: Turn, text: str) -> None:
        """Use the speculative transcript of the current pause for endpointing."""
        if turn is self._room.turn and self._candidate.text_verdict is TurnVerdict.PENDING:
            verdict = TurnVerdict.COMPLETE if is_complete_sentence(text) else TurnVerdict.INCOMPLETE
            self._candidate = replace(self._candidate, text_verdict=verdict)
            turn.spawn(self._advance_endpointing())

    def _measure_speech_permille(self, window: bytes) -> float:
        permille = 1000 * self._get_probability(window)
        talk = self._room.talk
        is_waiting = not self._detector.is_speaking or self._detector.is_turn_ended
        if not is_waiting or permille < talk.speech_permille or not self._echo.is_echo_possible:
            return permille
        return 0.0 if 1000 * self._echo.measure_share() >= talk.echo_permille else permille

    def _trim_pre_roll(self) -> None:
        """Drop audio older than the pre-roll and the time it takes to detect speech."""
        talk = self._room.talk
        max_bytes = (
            (talk.before_ms + max(talk.speech_ms, talk.barge_in_ms)) // WINDOW_MS * WINDOW_BYTES
        )
        del self._audio[: max(0, len(self._audio) - max_bytes)]

    async def _handle_vad_event(self, event: VadEvent) -> None:
        if event is VadEvent.POSSIBLE_SPEECH:
            self._room.dispatch(RoomEvent.POSSIBLE_SPEECH)
        elif event is VadEvent.FALSE_ALARM:
            self._room.dispatch(RoomEvent.FALSE_ALARM)
        elif event is VadEvent.SPEECH_STARTED:
            self._room.dispatch(RoomEvent.SPEECH_STARTED)
            if self._room.turn:
                self._room.turn.mark("speech_start")
        elif event is VadEvent.SPEECH_PAUSED:
            self._candidate = EndpointCandidate(
                is_long_enough=self._detector.voiced_ms >= self._room.talk.least_ms,
                discarded_transcripts=self._candidate.discarded_transcripts,
            )
        elif event is VadEvent.SPEECH_RESUMED:
            await self._resume_utterance()

    async def _advance_endpointing(self) -> None:
        """Take the action that is due in the current pause, if any."""
        turn, detector = self._room.turn, self._detector
        if turn is None or turn is self._ended_turn:
            return
        if self._room.is_button_held or not detector.is_paused:
            return
        self._candidate = replace(
            self._candidate, silent_ms=detector.silent_ms, is_silent=detector.is_silent
        )
        action = choose_action(self._candidate, self._room.talk)
        if action is EndpointAction.ANALYZE:
            self._candidate = replace(self._candidate, audio_verdict=TurnVerdict.PENDING)
            self._analysis = turn.spawn(self._analyze(bytes(self._audio)))
        elif action is EndpointAction.TRANSCRIBE:
            self._candidate = replace(self._candidate, text_verdict=TurnVerdict.PENDING)
            await self.push_frame(UtteranceFrame(turn, bytes(self._audio)))
        elif action is EndpointAction.END_TURN:
            await self._end_turn()

    async def _analyze(self, pcm: bytes) -> None:
        is_complete = await self._turn_analyzer.is_turn_complete(pcm)
        verdict = TurnVerdict.COMPLETE if is_complete else TurnVerdict.INCOMPLETE
        self._candidate = replace(self._candidate, audio_verdict=verdict)
        await self._advance_endpointing()

    async def _resume_utterance(self) -> None:
        if self._analysis:
            self._analysis.cancel()
            self._analysis = None
        discarded = self._candidate.discarded_transcripts
        if self._candidate.text_verdict is not TurnVerdict.NOT_REQUESTED:
            discarded += 1
        self._candidate = EndpointCandidate(discarded_transcripts=discarded)
        turn = self._room.turn
        if turn is None:
            return
        if turn is self._ended_turn:
            self._room.dispatch(RoomEvent.USER_RESUMED, turn)
            if self._room.state is not ConversationState.USER_SPEAKING:  # it became too long
                self._detector.reset()
                return
            self._ended_turn = None
        await self.push_frame(UserResumedFrame(turn))

    async def _end_turn(self, *, final: bool = False) -> None:
        """End the turn; unless `final`, the user may still resume it."""
        turn, detector = self._room.turn, self._detector
        if turn is None or turn is self._ended_turn:
            return
        self._ended_turn, self._analysis = turn, None
        is_long_enough = detector.voiced_ms >= self._room.talk.least_ms
        turn.mark("speech_end", turn.clock() - detector.silent_ms / 1000)
        if is_long_enough and not final:
            detector.is_turn_ended = True
        else:
            detector.reset()
        if is_long_enough:
            if self._candidate.text_verdict is TurnVerdict.NOT_REQUESTED:
                self._candidate = replace(self._candidate, text_verdict=TurnVerdict.PENDING)
                await self.push_frame(UtteranceFrame(turn, bytes(self._audio)))
            turn.mark("turn_end")
            self._room.dispatch(RoomEvent.TURN_ENDED, turn)
            await self.push_frame(EndOfTurnFrame(turn))
        else:
            self._room.dispatch(RoomEvent.TOO_SHORT, turn)

    def _start_turn(self) -> None:
        """Reset, except for a turn that starts within speech (barge-in)."""
        self._candidate = EndpointCandidate()
        if self._detector.is_turn_ended:
            self._detector.reset()
        if self._room.pre_roll_ms is not None:
            self._detector.reset()
            self._audio.clear()
            self._partial_window = b""

    def _force_endpoint(self) -> None:
        turn = self._room.turn
        if turn is not None:
            turn.mark("speech_end")  # the user waits from then on
            turn.spawn(self._end_after_trailing_audio())

    async def _end_after_trailing_audio(self) -> None:
        until = self._window_count + TRAILING_WINDOWS
        with suppress(TimeoutError):
            async with asyncio.timeout(MAX_TRAILING_S):
                while self._window_count < until:
                    self._window_added.clear()
                    await self._window_added.wait()
        await self._end_turn(final=True)
