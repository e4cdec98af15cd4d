"""Voice activity detection and endpointing.

While the assistant speaks (`is_assistant_speaking`) more evidence is required; POSSIBLE_SPEECH is
emitted early, so that playback can pause until speech is confirmed or denied.

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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import numpy as np
from pipecat.audio.turn.base_turn_analyzer import EndOfTurnState
from pipecat.audio.turn.smart_turn.local_smart_turn_v3 import LocalSmartTurnAnalyzerV3
from pipecat.audio.vad.silero import SileroVADAnalyzer

from barnabee.core.schema import TalkConfig

RATE_HZ = 16_000
WINDOW_SAMPLES = 512  # at 16 kHz; the size Silero requires
WINDOW_MS = 32
# Speech continues down to this much below the threshold (0.15 in Silero's own example).
HYSTERESIS_PERMILLE = 150
RESUME_WINDOWS = 3  # a click in a pause does not resume speech
RESET_WINDOWS = 10  # of silence, after which the state of the model is neutral
SpeechProbability = Callable[[bytes], float]  # of 512 samples at 16 kHz, 0 to 1
MAX_AUDIO_BYTES = 8 * RATE_HZ * 2  # the window of smart-turn
WARM_UP_RUNS = 2
# Discarded transcripts in one turn: a hesitant speaker must not occupy the engine all rooms share.
MAX_SPECULATIVE_TRANSCRIPTS = 3


class VadEvent(StrEnum):
    """Change of voice activity."""

    POSSIBLE_SPEECH = "possible_speech"
    FALSE_ALARM = "false_alarm"
    SPEECH_STARTED = "speech_started"
    SPEECH_PAUSED = "speech_paused"
    SPEECH_RESUMED = "speech_resumed"


@dataclass
class VoiceActivityDetector:
    """Voice activity of one microphone. Pure but for its own state."""

    talk: TalkConfig
    is_speaking: bool = False  # pauses included
    is_paused: bool = False  # silent for at least `judge_ms`
    voiced_ms: int = 0  # of the utterance
    silent_ms: int = 0  # since its last voiced window
    is_turn_ended: bool = False  # resuming then takes as much evidence as starting
    _voiced_windows: int = 0  # less the unvoiced ones
    _is_speech_possible: bool = False

    def reset(self) -> None:
        self.is_speaking = self.is_paused = self.is_turn_ended = self._is_speech_possible = False
        self.voiced_ms = self.silent_ms = self._voiced_windows = 0

    @property
    def is_silent(self) -> bool:
        """Whether speech is paused, without a voiced window at present."""
        return self.is_paused and not self._voiced_windows

    def process_window(
        self, permille: float, *, is_assistant_speaking: bool = False
    ) -> VadEvent | None:
        """Return the event of one window, given its speech probability in permille."""
        if self.is_speaking:
            hysteresis = 0 if self.is_turn_ended else HYSTERESIS_PERMILLE
            return self._in_speech(permille >= self.talk.speech_permille - hysteresis)
        threshold = (
            self.talk.barge_in_permille if is_assistant_speaking else self.talk.speech_permille
        )
        return self._in_silence(permille >= threshold, is_assistant_speaking=is_assistant_speaking)

    def _in_silence(self, voiced: bool, *, is_assistant_speaking: bool) -> VadEvent | None:
        self._count_window(voiced)
        required_ms = self.talk.barge_in_ms if is_assistant_speaking else self.talk.speech_ms
        if self._voiced_windows >= _to_windows(required_ms):
            self.is_speaking, self._is_speech_possible = True, False
            self.voiced_ms = self._voiced_windows * WINDOW_MS
            self.silent_ms = self._voiced_windows = 0
            return VadEvent.SPEECH_STARTED
        if not self._is_speech_possible and self._voiced_windows >= _to_windows(self.talk.hint_ms):
            self._is_speech_possible = True
            return VadEvent.POSSIBLE_SPEECH
        if self._is_speech_possible and not self._voiced_windows:
            self._is_speech_possible = False
            return VadEvent.FALSE_ALARM
        return None

    def _in_speech(self, voiced: bool) -> VadEvent | None:
        if self.is_paused:
            return self._in_pause(voiced)
        if voiced:
            self.voiced_ms += WINDOW_MS
            self.silent_ms = 0
            return None
        self.silent_ms += WINDOW_MS
        if self.silent_ms >= self.talk.judge_ms:
            self.is_paused, self._voiced_windows = True, 0
            return VadEvent.SPEECH_PAUSED
        return None

    def _in_pause(self, voiced: bool) -> VadEvent | None:
        self._count_window(voiced)
        self.silent_ms += WINDOW_MS
        required = _to_windows(self.talk.speech_ms) if self.is_turn_ended else RESUME_WINDOWS
        if self._voiced_windows < required:
            return None
        self.voiced_ms += self._voiced_windows * WINDOW_MS
        self.silent_ms = self._voiced_windows = 0
        self.is_paused = self.is_turn_ended = False
        return VadEvent.SPEECH_RESUMED

    def _count_window(self, voiced: bool) -> None:
        change = 1 if voiced else -1
        self._voiced_windows = max(0, self._voiced_windows + change)


def _to_windows(ms: int) -> int:
    return max(1, round(ms / WINDOW_MS))


class SileroPool:
    """Pool of Silero models.

    The model is stateful, so rooms cannot share one; a session takes 3 MiB and 40 to 80 ms to load,
    so it is reused.
    """

    def __init__(self) -> None:
        """Load the first model; blocks."""
        self._free = [_load_silero()]

    @contextmanager
    def borrow(self) -> Iterator[SpeechProbability]:
        """Lend a model: 0.2 to 0.4 ms of CPU a window, in the caller's thread."""
        analyzer = self._free.pop() if self._free else _load_silero()

        def get_probability(window: bytes) -> float:
            return float(np.ravel(analyzer.voice_confidence(window))[0])

        try:
            yield get_probability
        finally:
            for _ in range(RESET_WINDOWS):
                get_probability(bytes(WINDOW_SAMPLES * 2))
            self._free.append(analyzer)


def _load_silero() -> SileroVADAnalyzer:
    analyzer = SileroVADAnalyzer(sample_rate=RATE_HZ)
    analyzer.set_sample_rate(RATE_HZ)
    return analyzer


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
