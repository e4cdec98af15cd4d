"""Cuts a text into what is spoken in one go, so that the first sound comes early.

Pure. A first phrase is short because everybody waits for it; later ones are whole sentences because
melody needs room.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

FIRST_MAX_CHARS = 45
LATER_MAX_CHARS = 220  # well under the 510 phonemes the model takes at once
SHORTEST_CHARS = 12  # shorter clauses sound chopped
SENTENCE_PAUSE_S = 0.25
CLAUSE_PAUSE_S = 0.1

_SENTENCE = re.compile(
    r"(?:(?<=[.!?…])|(?<=[.!?…][\"'\u201d\u2019)]))"  # a mark, or a mark and a closing quote
    r"(?<!\bMr\.)(?<!\bMrs\.)(?<!\bMs\.)(?<!\bDr\.)(?<!\bSt\.)\s+|\n+"
)
_CLAUSE = re.compile(r"(?<=[,;:\u2014\u2013])\s+")
_CLAUSE_OR_CONJUNCTION = re.compile(  # for the first phrase alone: better a plain cut than a wait
    _CLAUSE.pattern + r"|\s+(?=(?:and|but|or|because|so|then|when|while|which)\s)"
)


@dataclass(frozen=True, slots=True)
class Phrase:
    """What is spoken in one go, and the silence after it."""

    text: str
    pause_s: float


def phrases(text: str) -> list[Phrase]:
    """Return the phrases of `text` in order; nothing is lost but white space."""
    sentences = [one.strip() for one in _SENTENCE.split(text) if one.strip()]
    parts: list[Phrase] = []
    for sentence in sentences:
        limit = LATER_MAX_CHARS if parts else FIRST_MAX_CHARS
        *clauses, last = _fit(sentence, limit)
        parts += [Phrase(clause, CLAUSE_PAUSE_S) for clause in clauses]
        parts.append(Phrase(last, SENTENCE_PAUSE_S))
    if parts:
        parts[-1] = Phrase(parts[-1].text, 0.0)
    return parts


def _fit(sentence: str, limit: int) -> list[str]:
    """Cut a sentence at clauses, and between words where a clause is too long."""
    if len(sentence) <= limit:
        return [sentence]
    cut = _CLAUSE_OR_CONJUNCTION if limit == FIRST_MAX_CHARS else _CLAUSE
    found: list[str] = []
    for piece in (part for clause in cut.split(sentence) for part in _words(clause)):
        room = limit if len(found) == 1 else LATER_MAX_CHARS
        if found and (len(found[-1]) < SHORTEST_CHARS or len(found[-1]) + len(piece) < room):
            found[-1] = f"{found[-1]} {piece}"
        else:
            found.append(piece)
    if len(found) > 1 and len(found[-1]) < SHORTEST_CHARS:
        found[-2:] = [f"{found[-2]} {found[-1]}"]
    return found


def _words(clause: str) -> Iterator[str]:
    rest = clause.strip()
    while len(rest) > LATER_MAX_CHARS:
        at = rest.rfind(" ", 1, LATER_MAX_CHARS)
        at = at if at > 0 else LATER_MAX_CHARS
        yield rest[:at].strip()
        rest = rest[at:].strip()
    if rest:
        yield rest
