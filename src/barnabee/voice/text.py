"""Text on its way in and out: what was said to us, and a reply piece by piece. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_END = re.compile(r"(?:(?<=[.!?…])|(?<=[.!?…][\"')\]]))\s+")
CHARS_PER_S = 14.0  # of the house's voice, measured over its replies; until a piece is complete


def addressed(text: str, wake_words: Sequence[str]) -> str:
    """Return what was said without the word that woke us; empty when there is nothing else."""
    text = text.strip()
    for name in wake_words:
        *first, last = (re.escape(part) for part in name.split("_"))
        optional = "".join(rf"(?:{part}\W+)?" for part in first)
        text = re.sub(rf"^\W*{optional}{last}(?:\W+|$)", "", text, count=1, flags=re.IGNORECASE)
    return text if any(map(str.isalnum, text)) else ""


def sentences(text: str) -> list[str]:
    """Return the pieces of a reply that are spoken one after the other."""
    pieces = (piece.strip() for piece in _END.split(text))
    return [piece for piece in pieces if any(map(str.isalnum, piece))]


@dataclass
class Piece:
    """A sentence of a reply: how much of its sound there is, and how much was played, in s."""

    text: str
    made_s: float = 0.0
    played_s: float = 0.0
    whole: bool = False  # all of its sound is there

    def heard(self) -> str:
        """Return the words of it that were heard, by their share of its length."""
        if self.whole and self.played_s >= self.made_s - 1e-6:
            return self.text
        lasts_s = self.made_s if self.whole else max(self.made_s, len(self.text) / CHARS_PER_S)
        if not self.played_s or not lasts_s:
            return ""
        chars = int(len(self.text) * min(1.0, self.played_s / lasts_s))
        if chars >= len(self.text) or self.text[chars].isspace():
            return self.text[:chars].rstrip()
        return self.text[:chars].rpartition(" ")[0].rstrip()  # half a word was not heard


def heard_up_to(pieces: Sequence[Piece]) -> str:
    """Return the part of a reply that was heard."""
    return " ".join(filter(None, (piece.heard() for piece in pieces)))
