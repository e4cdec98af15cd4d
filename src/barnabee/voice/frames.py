"""What our stages hand on through the pipeline beside Pipecat's own frames.

Each belongs to one turn; a stage that finds that turn over lets the frame fall.
"""

from __future__ import annotations

from dataclasses import dataclass

from pipecat.frames.frames import DataFrame

from barnabee.voice.turn import Turn


@dataclass
class Utterance(DataFrame):
    """What was said up to a pause: int16 mono 16 kHz. It may be all, or the person goes on."""

    turn: Turn
    pcm: bytes


@dataclass
class GoesOn(DataFrame):
    """The person goes on: the last `Utterance` was not all of it, even if it was `Done`."""

    turn: Turn


@dataclass
class Done(DataFrame):
    """The person is done: the last `Utterance` was all."""

    turn: Turn


@dataclass
class Words(DataFrame):
    """What was understood."""

    turn: Turn
    text: str


@dataclass
class Reply(DataFrame):
    """What is to be said; `trouble` names a recording that is played in place of `text`."""

    turn: Turn
    text: str = ""
    acted: bool = False
    trouble: str = ""


@dataclass
class FillerFrame(DataFrame):
    """A recording to be played while the reply is being worked on.

    It is cut short when the reply is there, unless it is to be said in `whole`.
    """

    turn: Turn
    pcm: bytes
    whole: bool = False
