"""Endpointing: deciding in a pause whether the turn has ended, from silence, sound and text.

judge_ms     smart-turn analyzes the audio, once; before, gaps within words are ignored
             then the utterance is transcribed: at once if it sounds complete, else at `pause_ms`
pause_ms     the turn ends if it sounds complete, or was too short for a word
whole_ms     the turn ends if the transcript reads like a complete sentence
wait_ms      the turn ends in any case

A turn never ends while speech may be starting (not `is_silent`). Of 30 complete sentences and 90
cut off after a word, smart-turn took 29 and 24 for complete after 96 ms of silence, 29 and 42 after
160 ms, 30 and 69 after 512 ms; the transcripts read complete in 30 and 30. More silence makes
smart-turn call anything complete, so it runs early and only once a pause. It does not run beside
the transcription, which would slow it down.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from pipecat.audio.turn.base_turn_analyzer import EndOfTurnState
from pipecat.audio.turn.smart_turn.local_smart_turn_v3 import LocalSmartTurnAnalyzerV3

RATE_HZ = 16_000
MAX_AUDIO_BYTES = 8 * RATE_HZ * 2  # the window of smart-turn
WARM_UP_RUNS = 2
# Discarded transcripts in one turn: a hesitant speaker must not occupy the engine all rooms share.
MAX_SPECULATIVE_TRANSCRIPTS = 3


class TurnVerdict(StrEnum):
    """Whether an utterance is complete, judged by its audio or by its transcript."""

    NOT_REQUESTED = "not_requested"
    PENDING = "pending"
    COMPLETE = "complete"
    INCOMPLETE = "incomplete"


class EndpointAction(StrEnum):
    """Next action in a pause."""

    ANALYZE = "analyze"
    TRANSCRIBE = "transcribe"
    END_TURN = "end_turn"


class EndpointLimits(Protocol):
    """Durations of silence in ms: `[talk]` of system.toml."""

    @property
    def judge_ms(self) -> int: ...

    @property
    def pause_ms(self) -> int: ...

    @property
    def whole_ms(self) -> int: ...

    @property
    def wait_ms(self) -> int: ...


@dataclass(frozen=True, slots=True)
class EndpointCandidate:
    """Pause that may be the end of the turn."""

    silent_ms: int = 0
    is_silent: bool = True  # no voiced window at present
    is_long_enough: bool = True  # voiced long enough for a word
    audio_verdict: TurnVerdict = TurnVerdict.NOT_REQUESTED
    text_verdict: TurnVerdict = TurnVerdict.NOT_REQUESTED
    discarded_transcripts: int = 0  # in this turn


def choose_action(pause: EndpointCandidate, limits: EndpointLimits) -> EndpointAction | None:
    """Return the action due now; None while silence or a verdict is awaited. Pure."""
    silent_ms = pause.silent_ms
    if pause.is_silent and _is_turn_over(pause, limits):
        return EndpointAction.END_TURN
    if not pause.is_long_enough:
        return None
    if pause.audio_verdict is TurnVerdict.NOT_REQUESTED:
        return EndpointAction.ANALYZE if silent_ms >= limits.judge_ms else None
    if (
        pause.text_verdict is TurnVerdict.NOT_REQUESTED
        and pause.audio_verdict is not TurnVerdict.PENDING
    ):
        may_speculate = pause.discarded_transcripts < MAX_SPECULATIVE_TRANSCRIPTS
        is_due = may_speculate and silent_ms >= limits.pause_ms
        is_complete = pause.audio_verdict is TurnVerdict.COMPLETE
        return EndpointAction.TRANSCRIBE if is_complete or is_due else None
    return None


def _is_turn_over(pause: EndpointCandidate, limits: EndpointLimits) -> bool:
    if not pause.is_long_enough or pause.audio_verdict is TurnVerdict.COMPLETE:
        return pause.silent_ms >= limits.pause_ms
    if pause.text_verdict is TurnVerdict.COMPLETE:
        return pause.silent_ms >= limits.whole_ms
    return pause.silent_ms >= limits.wait_ms


def is_complete_sentence(text: str) -> bool:
    """Return whether a transcript is a complete sentence, by Whisper's punctuation. Pure."""
    text = text.strip().rstrip("\"')]")
    is_punctuated = text.endswith((".", "!", "?")) and not text.endswith("..")
    return is_punctuated and any(map(str.isalnum, text))


class TurnAnalyzer:
    """End-of-turn detection with smart-turn, which judges the sound of the last 8 s.

    One model serves all rooms: it runs once a pause and takes 45 to 60 ms on a CPU.
    """

    def __init__(self) -> None:
        """Load the model; blocks."""
        self._analyzer = LocalSmartTurnAnalyzerV3(sample_rate=RATE_HZ)
        self._analyzer.set_sample_rate(RATE_HZ)
        self._lock = asyncio.Lock()

    async def warm_up(self) -> None:
        """Analyze silence: the first two runs allocate 39 MiB."""
        for _ in range(WARM_UP_RUNS):
            await self.is_turn_complete(bytes(MAX_AUDIO_BYTES))

    async def is_turn_complete(self, pcm: bytes) -> bool:
        """Return whether an utterance (16-bit mono PCM, 16 kHz) sounds complete."""
        async with self._lock:
            self._analyzer.clear()
            self._analyzer.append_audio(pcm[-MAX_AUDIO_BYTES:], is_speech=True)
            state, _ = await self._analyzer.analyze_end_of_turn()
            return state is EndOfTurnState.COMPLETE

    async def aclose(self) -> None:
        await self._analyzer.cleanup()
