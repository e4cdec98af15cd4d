"""What a stream of sound for wake words may ask for, and when it wakes.

Pure: no socket, no engine, no clock. Time is counted in frames of 80 ms of sound, so that a
recording sent at once wakes at the same places as a microphone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from barnabee.core.errors import BadRequest, TooLarge
from barnabee.core.schema import Wake
from barnabee.gpu.engines.protocols import STT_RATE_HZ, WAKE_FRAME

FRAME_MS = WAKE_FRAME * 1000 // STT_RATE_HZ
FRAME_BYTES = WAKE_FRAME * 2
SOUND_MAX_BYTES = 65_536  # of one message: two seconds
TEXT_MAX_CHARS = 1024
OTHER_ROOM = "other"  # the label of rooms that system.toml does not name
PERMILLE = 1000
NAME_MAX_CHARS = 64
_NAME = re.compile(r"[a-z][a-z0-9_-]*")
_KNOWN = ("room", "words", "threshold")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What one stream listens for."""

    room: str
    label: str  # the room in metrics, of which there are only as many as system.toml names
    words: tuple[str, ...]
    threshold_permille: int
    pause_ms: int

    def require(self, known: Sequence[str]) -> None:
        """Raise BadRequest when a word is not among `known`."""
        unknown = [word for word in self.words if word not in known]
        if unknown:
            reason = f"{unknown[0]!r} is not one of {', '.join(known)}"
            raise BadRequest(field="parameter `words`", reason=reason)


@dataclass(frozen=True, slots=True)
class Heard:
    """A word was heard, at the end of the frame that made it sure."""

    word: str
    score: float
    at_ms: int  # of sound, since the stream began


def wanted(query: Mapping[str, str], wake: Wake) -> Wanted:
    """Return what a stream asks for; BadRequest names the parameter that is not usable."""
    for name in query:
        if name not in _KNOWN:
            reason = f"there is none of this name; known are {', '.join(_KNOWN)}"
            raise BadRequest(field=f"parameter `{name[:NAME_MAX_CHARS]}`", reason=reason)
    room = _name(query["room"], "room") if "room" in query else ""
    words = tuple(dict.fromkeys(_name(word, "words") for word in _split(query, wake)))
    permille = wake.room.get(room, wake.threshold_permille)
    if "threshold" in query:
        permille = _threshold(query["threshold"])
    label = room if room in wake.room else OTHER_ROOM
    return Wanted(room, label, words, permille, wake.pause_ms)


def _split(query: Mapping[str, str], wake: Wake) -> Sequence[str]:
    return query["words"].split(",") if "words" in query else wake.words


def _name(text: str, field_name: str) -> str:
    if len(text) > NAME_MAX_CHARS or not _NAME.fullmatch(text):
        reason = f"a name is up to {NAME_MAX_CHARS} of a-z, 0-9, _ and -, a letter first"
        raise BadRequest(field=f"parameter `{field_name}`", reason=reason)
    return text


def _threshold(text: str) -> int:
    digits = len(str(PERMILLE))
    if not (text.isascii() and text.isdecimal() and len(text) <= digits):
        raise BadRequest(field="parameter `threshold`", reason="it is not a whole number")
    permille = int(text)
    if not 1 <= permille <= PERMILLE:
        raise BadRequest(field="parameter `threshold`", reason="it is not within 1 and 1000")
    return permille


class Cutter:
    """Cuts messages of any length into frames; what is left over, half a sample too, waits."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._rest = b""

    def add(self, sound: bytes) -> NDArray[np.int16]:
        """Take 16-bit little-endian sound; return (n, 1280) whole frames. TooLarge."""
        if len(sound) > SOUND_MAX_BYTES:
            raise TooLarge(field="message", limit=f"{SOUND_MAX_BYTES} bytes of sound")
        joined = self._rest + sound
        whole = len(joined) // FRAME_BYTES * FRAME_BYTES
        self._rest = joined[whole:]
        frames = np.frombuffer(joined[:whole], "<i2").reshape(-1, WAKE_FRAME)
        return frames.astype(np.int16, copy=False)


@dataclass(slots=True)
class Watch:
    """Turns scores into wakes: a score that rises over the threshold, once a pause."""

    wanted: Wanted
    frames: int = 0
    last: Heard | None = None
    _up: frozenset[str] = field(default_factory=frozenset)  # words that have not fallen since

    def hear(self, scores: Mapping[str, float]) -> Heard | None:
        """Take the scores of the next frame; return what has woken it, the surest word first.

        A word that is still being heard when the pause ends does not wake again.
        """
        self.frames += 1
        over = {
            word: score
            for word, score in scores.items()
            if score * PERMILLE >= self.wanted.threshold_permille
        }
        rising = [word for word in over if word not in self._up]
        self._up = frozenset(over)
        at_ms = self.frames * FRAME_MS
        if not rising or (self.last and at_ms - self.last.at_ms < self.wanted.pause_ms):
            return None
        word = max(rising, key=lambda one: over[one])
        self.last = Heard(word, over[word], at_ms)
        return self.last


class FalseWake(BaseModel):
    """What a client says when nobody spoke after a wake; without `word` the last one is meant."""

    model_config = ConfigDict(extra="forbid", strict=True)

    type: Literal["false_wake"]
    word: str | None = None


def false_wake(text: str, watch: Watch) -> str:
    """Return the word that a client's message is about; BadRequest, or TooLarge."""
    if len(text) > TEXT_MAX_CHARS:
        raise TooLarge(field="message", limit=f"{TEXT_MAX_CHARS} characters of text")
    try:
        said = FalseWake.model_validate_json(text)
    except ValidationError as error:
        reason = f'only {{"type": "false_wake"}} is known ({error.errors()[0]["msg"]})'
        raise BadRequest(field="message", reason=reason) from error
    if said.word is None:
        if watch.last is None:
            raise BadRequest(field="message", reason="no word was heard on this stream yet")
        return watch.last.word
    if said.word not in watch.wanted.words:
        reason = f"its word is not one of {', '.join(watch.wanted.words)}"
        raise BadRequest(field="message", reason=reason)
    return said.word
