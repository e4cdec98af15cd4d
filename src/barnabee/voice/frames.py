"""Frames that the stages exchange beside those of Pipecat; each belongs to one turn."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

from pipecat.frames.frames import DataFrame

from barnabee.voice.turn import Turn


@dataclass
class UtteranceFrame(DataFrame):
    """Speech up to a pause (16-bit mono PCM, 16 kHz), to be transcribed speculatively."""

    turn: Turn
    pcm: bytes


@dataclass
class UserResumedFrame(DataFrame):
    """The user resumed speaking: the last `UtteranceFrame` is void, even after the end of turn."""

    turn: Turn


@dataclass
class EndOfTurnFrame(DataFrame):
    """The turn has ended: the last `UtteranceFrame` is complete."""

    turn: Turn


@dataclass
class TranscriptFrame(DataFrame):
    """Transcript of the utterance, without the wake word."""

    turn: Turn
    text: str


class ReplyStream:
    """Sentences of a reply that is still being generated. Iterated once."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[str | None] = asyncio.Queue()
        self.has_acted = False
        self.trouble = ""

    def add(self, text: str) -> None:
        self._queue.put_nowait(text)

    def finish(self, *, has_acted: bool = False, trouble: str = "") -> None:
        """End the reply; `trouble` names a recording that is played after it."""
        self.has_acted, self.trouble = has_acted, trouble
        self._queue.put_nowait(None)

    async def __aiter__(self) -> AsyncIterator[str]:
        while (text := await self._queue.get()) is not None:
            yield text


@dataclass
class ReplyFrame(DataFrame):
    """Reply to be spoken; `trouble` names a recording that is played instead of `text`.

    `more` has the sentences after `text` while the reply is generated.
    """

    turn: Turn
    text: str = ""
    has_acted: bool = False  # a device was switched, a timer set …
    trouble: str = ""
    more: ReplyStream | None = None


@dataclass
class FillerFrame(DataFrame):
    """Recording to be played before the reply, which cuts it short unless `is_uninterruptible`."""

    turn: Turn
    pcm: bytes
    is_uninterruptible: bool = False
