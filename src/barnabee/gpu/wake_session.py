"""Wake word session: a client's request, frames from its audio, and detections from scores. Pure.

Time is counted in frames of 80 ms of audio, so that a recording sent at once is detected at the
same positions as live audio.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from barnabee.audio.samples import STT_RATE_HZ
from barnabee.core.errors import BadRequest, TooLarge
from barnabee.core.schema import WakeConfig
from barnabee.gpu.engines.base import WAKE_FRAME_SAMPLES

FRAME_MS = WAKE_FRAME_SAMPLES * 1000 // STT_RATE_HZ
FRAME_BYTES = WAKE_FRAME_SAMPLES * 2
MAX_MESSAGE_BYTES = 65_536  # of audio: two seconds
MAX_TEXT_CHARS = 1024
MAX_NAME_CHARS = 64
OTHER_ROOM = "other"  # metric label of rooms that system.toml does not name
PERMILLE = 1000
_NAME = re.compile(r"[a-z][a-z0-9_-]*")
_PARAMETERS = ("room", "words", "threshold")


@dataclass(frozen=True, slots=True)
class WakeRequest:
    """Query parameters of one stream, with defaults from `wake` in system.toml."""

    room: str
    room_label: str  # `room` if system.toml names it, else OTHER_ROOM: bounds the metric's labels
    words: tuple[str, ...]
    threshold_permille: int
    pause_ms: int

    def check_words(self, known: Sequence[str]) -> None:
        """Raise BadRequest when a word is not among `known`."""
        unknown = [word for word in self.words if word not in known]
        if unknown:
            reason = f"{unknown[0]!r} is not one of {', '.join(known)}"
            raise BadRequest(field="parameter `words`", reason=reason)


@dataclass(frozen=True, slots=True)
class WakeDetection:
    """A detected wake word; `at_ms` of audio is the end of the frame that raised the score."""

    word: str
    score: float
    at_ms: int


def parse_wake_request(query: Mapping[str, str], wake: WakeConfig) -> WakeRequest:
    """Return the request; BadRequest names the invalid parameter."""
    for name in query:
        if name not in _PARAMETERS:
            reason = f"it is unknown; known are {', '.join(_PARAMETERS)}"
            raise BadRequest(field=f"parameter `{name[:MAX_NAME_CHARS]}`", reason=reason)
    room = _parse_name(query["room"], "room") if "room" in query else ""
    listed = query["words"].split(",") if "words" in query else wake.words
    words = tuple(dict.fromkeys(_parse_name(word, "words") for word in listed))
    threshold = wake.room.get(room, wake.threshold_permille)
    if "threshold" in query:
        threshold = _parse_threshold(query["threshold"])
    label = room if room in wake.room else OTHER_ROOM
    return WakeRequest(room, label, words, threshold, wake.pause_ms)


def _parse_name(text: str, field_name: str) -> str:
    if len(text) > MAX_NAME_CHARS or not _NAME.fullmatch(text):
        reason = f"a name is up to {MAX_NAME_CHARS} of a-z, 0-9, _ and -, a letter first"
        raise BadRequest(field=f"parameter `{field_name}`", reason=reason)
    return text


def _parse_threshold(text: str) -> int:
    max_digits = len(str(PERMILLE))
    if not (text.isascii() and text.isdecimal() and len(text) <= max_digits):
        raise BadRequest(field="parameter `threshold`", reason="it is not a whole number")
    permille = int(text)
    if not 1 <= permille <= PERMILLE:
        raise BadRequest(field="parameter `threshold`", reason="it is not within 1 and 1000")
    return permille


class FrameSplitter:
    """Splits audio messages of any length into frames, across message boundaries."""

    def __init__(self) -> None:
        self._remainder = b""

    def split(self, audio: bytes) -> NDArray[np.int16]:
        """Take 16-bit little-endian audio; return (n, 1280) complete frames. TooLarge."""
        if len(audio) > MAX_MESSAGE_BYTES:
            raise TooLarge(field="message", limit=f"{MAX_MESSAGE_BYTES} bytes of audio")
        joined = self._remainder + audio
        size = len(joined) // FRAME_BYTES * FRAME_BYTES
        self._remainder = joined[size:]
        frames = np.frombuffer(joined[:size], "<i2").reshape(-1, WAKE_FRAME_SAMPLES)
        return frames.astype(np.int16, copy=False)


@dataclass(slots=True)
class WakeDetector:
    """Detects wake words: a score that rises to the threshold, at most once per pause."""

    request: WakeRequest
    frames: int = 0
    last: WakeDetection | None = None
    _above: frozenset[str] = field(default_factory=frozenset)  # words above the threshold

    def process(self, scores: Mapping[str, float]) -> WakeDetection | None:
        """Take the next frame's scores; return the word that rose to the threshold, best first.

        A word still above the threshold when the pause ends is not detected again.
        """
        self.frames += 1
        above = {
            word: score
            for word, score in scores.items()
            if score * PERMILLE >= self.request.threshold_permille
        }
        rising = [word for word in above if word not in self._above]
        self._above = frozenset(above)
        at_ms = self.frames * FRAME_MS
        if not rising or (self.last and at_ms - self.last.at_ms < self.request.pause_ms):
            return None
        word = max(rising, key=lambda name: above[name])
        self.last = WakeDetection(word, above[word], at_ms)
        return self.last


class FalseWakeMessage(BaseModel):
    """Client message: no speech followed a detection (the last one without `word`)."""

    model_config = ConfigDict(extra="forbid", strict=True)

    type: Literal["false_wake"]
    word: str | None = None


def parse_false_wake(text: str, detector: WakeDetector) -> str:
    """Return the word that a client's message is about; BadRequest or TooLarge."""
    if len(text) > MAX_TEXT_CHARS:
        raise TooLarge(field="message", limit=f"{MAX_TEXT_CHARS} characters of text")
    try:
        message = FalseWakeMessage.model_validate_json(text)
    except ValidationError as error:
        reason = f'only {{"type": "false_wake"}} is known ({error.errors()[0]["msg"]})'
        raise BadRequest(field="message", reason=reason) from error
    if message.word is None:
        if detector.last is None:
            raise BadRequest(field="message", reason="no word was detected on this stream yet")
        return detector.last.word
    if message.word not in detector.request.words:
        reason = f"its word is not one of {', '.join(detector.request.words)}"
        raise BadRequest(field="message", reason=reason)
    return message.word
