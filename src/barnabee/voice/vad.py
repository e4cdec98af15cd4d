"""Voice activity detection: Silero's speech probability of each 32 ms window, turned into events.

While the assistant speaks (`is_assistant_speaking`) more evidence is required; POSSIBLE_SPEECH is
emitted early, so that playback can pause until speech is confirmed or denied.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
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
