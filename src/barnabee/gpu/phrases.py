"""Phrases of a text, synthesized one at a time so that the first audio is early. Pure.

The first phrase is short because the listener waits for it; later ones are whole sentences, which
have a natural melody.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

FIRST_MAX_CHARS = 45
LATER_MAX_CHARS = 220  # well under the model's limit of 510 phonemes
MIN_CHARS = 12  # shorter clauses sound choppy
SENTENCE_PAUSE_S = 0.25
CLAUSE_PAUSE_S = 0.1

_SENTENCE = re.compile(
    r"(?:(?<=[.!?…])|(?<=[.!?…][\"'\u201d\u2019)]))"  # punctuation, with or without a closing quote
    r"(?<!\bMr\.)(?<!\bMrs\.)(?<!\bMs\.)(?<!\bDr\.)(?<!\bSt\.)\s+|\n+"
)
_CLAUSE = re.compile(r"(?<=[,;:\u2014\u2013])\s+")
_CLAUSE_OR_CONJUNCTION = re.compile(  # for the first phrase only: latency over melody
    _CLAUSE.pattern + r"|\s+(?=(?:and|but|or|because|so|then|when|while|which)\s)"
)


@dataclass(frozen=True, slots=True)
class Phrase:
    """Text synthesized in one call, and the pause after it."""

    text: str
    pause_s: float


def split_phrases(text: str) -> list[Phrase]:
    """Split `text` into phrases; only white space is dropped."""
    sentences = [part.strip() for part in _SENTENCE.split(text) if part.strip()]
    phrases: list[Phrase] = []
    for sentence in sentences:
        limit = LATER_MAX_CHARS if phrases else FIRST_MAX_CHARS
        *clauses, last = _split_sentence(sentence, limit)
        phrases += [Phrase(clause, CLAUSE_PAUSE_S) for clause in clauses]
        phrases.append(Phrase(last, SENTENCE_PAUSE_S))
    if phrases:
        phrases[-1] = Phrase(phrases[-1].text, 0.0)
    return phrases


def _split_sentence(sentence: str, limit: int) -> list[str]:
    """Split a sentence between clauses, and between words where a clause is too long."""
    if len(sentence) <= limit:
        return [sentence]
    separator = _CLAUSE_OR_CONJUNCTION if limit == FIRST_MAX_CHARS else _CLAUSE
    parts: list[str] = []
    for piece in (piece for clause in separator.split(sentence) for piece in _wrap(clause)):
        max_chars = limit if len(parts) == 1 else LATER_MAX_CHARS
        if parts and (len(parts[-1]) < MIN_CHARS or len(parts[-1]) + len(piece) < max_chars):
            parts[-1] = f"{parts[-1]} {piece}"
        else:
            parts.append(piece)
    if len(parts) > 1 and len(parts[-1]) < MIN_CHARS:
        parts[-2:] = [f"{parts[-2]} {parts[-1]}"]
    return parts


def _wrap(clause: str) -> Iterator[str]:
    rest = clause.strip()
    while len(rest) > LATER_MAX_CHARS:
        at = rest.rfind(" ", 1, LATER_MAX_CHARS)
        at = at if at > 0 else LATER_MAX_CHARS
        yield rest[:at].strip()
        rest = rest[at:].strip()
    if rest:
        yield rest
