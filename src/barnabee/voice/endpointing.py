"""What is done in a pause: who is asked whether the person is done, and when the turn ends. Pure.

silent for   nothing is asked before `judge_ms`: words have gaps of their own
judge_ms     smart-turn judges how it sounded, once; Whisper beside it would make it slow
judged       sounds done: transcribe at once; otherwise at `pause_ms`, a few times in a turn
pause_ms     the end, if it sounded done (or was too little to be words)
whole_ms     the end, if what was heard reads like a whole sentence
wait_ms      the end in any case

Somebody who is just beginning to speak again (not `quiet`) ends nothing. Of 30 spoken sentences,
and 90 cut off after a word, smart-turn took 29 and 24 for done after 96 ms of silence, 29 and 42
after 160, 30 and 69 after 512. More silence makes it call anything done, so it is asked early and
not again. The words looked whole in 30 and 30.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

# Transcripts of pauses that were thrown away, in one turn. Somebody who speaks haltingly must not
# keep the one engine busy that other rooms need too.
GUESSES_MOST = 3


class Sounds(StrEnum):
    """What smart-turn says of it."""

    UNASKED = "unasked"
    ASKED = "asked"
    DONE = "done"
    OPEN = "open"


class Reads(StrEnum):
    """What the words say of it."""

    UNASKED = "unasked"
    ASKED = "asked"
    WHOLE = "whole"
    PART = "part"


class Ask(StrEnum):
    """What is to be done next."""

    JUDGE = "judge"
    TRANSCRIBE = "transcribe"
    END = "end"


class Limits(Protocol):
    """How much silence it takes, in ms: `[talk]` of system.toml."""

    @property
    def judge_ms(self) -> int:
        """To be judged."""
        ...

    @property
    def pause_ms(self) -> int:
        """To end what sounds done."""
        ...

    @property
    def whole_ms(self) -> int:
        """To end what reads like a whole sentence."""
        ...

    @property
    def wait_ms(self) -> int:
        """To end anything."""
        ...


@dataclass(frozen=True, slots=True)
class Pause:
    """A pause in what somebody says."""

    silent_ms: int = 0
    quiet: bool = True  # nothing like a voice right now
    enough: bool = True  # was said to be words
    sounds: Sounds = Sounds.UNASKED
    reads: Reads = Reads.UNASKED
    wasted: int = 0  # transcripts of this turn so far


def next_step(pause: Pause, limits: Limits) -> Ask | None:
    """Return what is to be done now; None when time or an answer must come first."""
    silent_ms = pause.silent_ms
    if pause.quiet and _over(pause, limits):
        return Ask.END
    if not pause.enough:
        return None
    if pause.sounds is Sounds.UNASKED:
        return Ask.JUDGE if silent_ms >= limits.judge_ms else None
    if pause.reads is Reads.UNASKED and pause.sounds is not Sounds.ASKED:
        guess = silent_ms >= limits.pause_ms and pause.wasted < GUESSES_MOST
        return Ask.TRANSCRIBE if pause.sounds is Sounds.DONE or guess else None
    return None


def _over(pause: Pause, limits: Limits) -> bool:
    if not pause.enough or pause.sounds is Sounds.DONE:
        return pause.silent_ms >= limits.pause_ms
    if pause.reads is Reads.WHOLE:
        return pause.silent_ms >= limits.whole_ms
    return pause.silent_ms >= limits.wait_ms


def reads_whole(text: str) -> bool:
    """Return whether a transcript reads like a whole sentence, as Whisper punctuates."""
    text = text.strip().rstrip("\"')]")
    whole = text.endswith((".", "!", "?")) and not text.endswith("..")
    return whole and any(map(str.isalnum, text))
