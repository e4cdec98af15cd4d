"""Frames that the stages exchange beside those of Pipecat; each belongs to one turn."""

from __future__ import annotations

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


@dataclass
class ReplyFrame(DataFrame):
    """Reply to be spoken; `trouble` names a recording that is played instead of `text`."""

    turn: Turn
    text: str = ""
    has_acted: bool = False  # a device was switched, a timer set …
    trouble: str = ""


@dataclass
class FillerFrame(DataFrame):
    """Recording to be played before the reply, which cuts it short unless `is_uninterruptible`."""

    turn: Turn
    pcm: bytes
    is_uninterruptible: bool = False
