"""What the voice says while an answer is being worked on, so that nobody talks into silence.

Decides which filler, and holds the clips that are played; how long the answer will take,
`estimate` says, and `filler_files` makes the clips. Nothing is synthesised here: a filler has to
sound when the speech engine is the very thing that is slow.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from barnabee.core.schema import Filler

Context = Literal["answer", "ask"]  # an answer is awaited; or the assistant is about to ask back
CATEGORIES = ("acknowledgment", "thinking", "clarification")


@dataclass(frozen=True, slots=True)
class Clip:
    """A recording: 16-bit mono samples at the house's rate, and the words in it."""

    name: str  # <category>_<number>, as its file is called
    words: str
    pcm: bytes
    rate_hz: int

    @property
    def duration_s(self) -> float:
        """Return how long it sounds."""
        return len(self.pcm) / 2 / self.rate_hz


def category(context: Context, processing_estimate_ms: int, limits: Filler) -> str | None:
    """Return which kind of filler fits, or None when silence is shorter than one. Pure.

    Asking back is begun with its own words however fast the question is there, because they are
    half of the question.
    """
    if context == "ask":
        return "clarification"
    if processing_estimate_ms < limits.none_below_ms:
        return None
    if processing_estimate_ms < limits.acknowledgment_below_ms:
        return "acknowledgment"
    return "thinking"


@dataclass
class Fillers:
    """One conversation's fillers: never the same one twice in a row."""

    clips: Mapping[str, Sequence[Clip]]  # by category
    limits: Filler
    dice: random.Random = field(default_factory=random.Random)
    _last: str = ""

    def select_filler(self, context: Context, processing_estimate_ms: int) -> Clip | None:
        """Return the clip to play, or None when none is needed or none was recorded."""
        kind = category(context, processing_estimate_ms, self.limits)
        known = self.clips.get(kind, ()) if kind else ()
        fresh = [clip for clip in known if clip.name != self._last] or list(known)
        if not fresh:
            return None
        chosen = self.dice.choice(fresh)
        self._last = chosen.name
        return chosen
