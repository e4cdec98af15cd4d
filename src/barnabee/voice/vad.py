"""When somebody begins to speak, pauses and goes on: from how sure a detector is, 32 ms at a time.

Pure: the detector (Silero, run by `stages/vad.py`) gives a number for each window, this gives
the signs. While the assistant itself speaks (`careful`) it takes more to be sure, but a hint comes
early, so that the assistant can fall silent while it is found out.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from barnabee.core.schema import Talk

WINDOW = 512  # samples at 16 kHz; what Silero takes
WINDOW_MS = 32
# Below the threshold by less than this a voice that was there goes on (Silero's own example: 0.15).
SLACK_PERMILLE = 150
RESUMED_WINDOWS = 3  # one click in a pause is not somebody going on


class Sign(StrEnum):
    """What was noticed."""

    HINTED = "hinted"
    DENIED = "denied"
    BEGAN = "began"
    PAUSED = "paused"
    RESUMED = "resumed"


@dataclass
class Detector:
    """The signs of one microphone."""

    talk: Talk
    speech: bool = False  # somebody speaks, pauses included
    paused: bool = False  # for `judge_ms` at least
    voiced_ms: int = 0  # of the utterance
    silent_ms: int = 0  # since the last voiced window of it
    over: bool = False  # it was taken as all, which it takes more to take back
    _count: int = 0  # voiced windows, less those that were not
    _hinted: bool = False

    def reset(self) -> None:
        """Forget: nobody has spoken yet."""
        self.speech = self.paused = self.over = self._hinted = False
        self.voiced_ms = self.silent_ms = self._count = 0

    @property
    def quiet(self) -> bool:
        """Return whether there is nothing like a voice right now, in a pause."""
        return self.paused and not self._count

    def hear(self, permille: float, *, careful: bool = False) -> Sign | None:
        """Take note of one window and return the sign in it."""
        if self.speech:
            slack = 0 if self.over else SLACK_PERMILLE
            return self._in_speech(permille >= self.talk.speech_permille - slack)
        least = self.talk.barge_in_permille if careful else self.talk.speech_permille
        return self._in_quiet(permille >= least, careful=careful)

    def _in_quiet(self, voiced: bool, *, careful: bool) -> Sign | None:
        self._count = self._count + 1 if voiced else max(0, self._count - 1)
        if self._count >= _windows(self.talk.barge_in_ms if careful else self.talk.speech_ms):
            self.speech, self._hinted = True, False
            self.voiced_ms, self.silent_ms, self._count = self._count * WINDOW_MS, 0, 0
            return Sign.BEGAN
        if not self._hinted and self._count >= _windows(self.talk.hint_ms):
            self._hinted = True
            return Sign.HINTED
        if self._hinted and not self._count:
            self._hinted = False
            return Sign.DENIED
        return None

    def _in_speech(self, voiced: bool) -> Sign | None:
        if self.paused:
            return self._in_pause(voiced)
        if voiced:
            self.voiced_ms += WINDOW_MS
            self.silent_ms = 0
            return None
        self.silent_ms += WINDOW_MS
        if self.silent_ms >= self.talk.judge_ms:
            self.paused, self._count = True, 0
            return Sign.PAUSED
        return None

    def _in_pause(self, voiced: bool) -> Sign | None:
        self._count = self._count + 1 if voiced else max(0, self._count - 1)
        self.silent_ms += WINDOW_MS
        if self._count < (_windows(self.talk.speech_ms) if self.over else RESUMED_WINDOWS):
            return None
        self.voiced_ms += self._count * WINDOW_MS
        self.silent_ms, self._count, self.paused, self.over = 0, 0, False, False
        return Sign.RESUMED


def _windows(ms: int) -> int:
    return max(1, round(ms / WINDOW_MS))
