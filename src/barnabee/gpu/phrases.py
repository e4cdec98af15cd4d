"""Phrases of a text, each synthesized in one step. Pure.

A step is at most about 5 s of sound: other requests are served between two steps, and a reply is
interrupted there. The first phrase is shorter because the listener waits for it. A sentence that is
too long is divided where it is heard least: after punctuation, before a conjunction or preposition,
else between two words, but not inside a number or a name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

from barnabee.understanding.spoken_numbers import NUMBER_WORDS, ORDINAL_WORDS
from barnabee.understanding.spoken_text import split_sentences
from barnabee.understanding.text_normalization import PAUSE

# Kokoro's voices speak 17 phonemes a second and pause at commas: 5 s. A character of words is 1.0
# to 1.2 phonemes.
MAX_PHONEMES = 86
COMMA_PHONEMES = 3
FIRST_MAX_CHARS = 45
FIRST_CLAUSE_RATIO = 4 / 3  # a first phrase may be so much longer when it is a clause
LATER_MAX_CHARS = 80
# A number or a name is divided when it is longer; 200 is the limit of one step for anything.
JOINED_MAX_CHARS = 150
HARD_MAX_PHONEMES = 200
MIN_CHARS = 12  # shorter clauses sound choppy
# Quiet at the end of a phrase, which the model's own end and beginning are part of.
SENTENCE_PAUSE_S = 0.12
CLAUSE_PAUSE_S = 0.09
WORD_PAUSE_S = 0.02
END_PAUSE_S = 0.06

_PUNCTUATION = re.compile(r"[,;:.!?\u2026\u2014\u2013)\"]+\Z")
_CONJUNCTIONS = frozenset("and but or because so then when while which who if that than".split())
_PREPOSITIONS = frozenset(
    "in on at for from with by to of about after before until into over is are was will".split()
)
_LEADING_WORDS = _PREPOSITIONS | frozenset("the a an my your his her our their this no not".split())
_NUMBER_WORDS = (NUMBER_WORDS | ORDINAL_WORDS | {"oh", "point", "minus"}) - {"a", "an", "of"}
_COSTS = {"punctuation": 0.0, "conjunction": 0.15, "preposition": 0.3, "word": 0.45}
_LEADING_COST, _AMOUNT_COST, _SHORT_COST, _JOINED_COST = 0.3, 0.8, 5.0, 100.0


@dataclass(frozen=True, slots=True)
class Phrase:
    """Text synthesized in one step, "" for silence alone, and the pause after it."""

    text: str
    pause_s: float


def split_phrases(text: str, *, speed: float = 1.0) -> list[Phrase]:
    """Split `text` into phrases; only white space and pause tags are dropped."""
    parts = PAUSE.split(text)
    phrases = list(_split_text(parts[0], speed, is_first=True))
    for tag, part in zip(parts[1::2], parts[2::2], strict=True):
        pause_s = float(tag.removeprefix("[pause:").removesuffix("s]"))
        phrases = phrases or [Phrase("", 0.0)]
        phrases[-1] = replace(phrases[-1], pause_s=phrases[-1].pause_s + pause_s)
        phrases += _split_text(part, speed, is_first=not phrases[0].text)
    return phrases


def _split_text(text: str, speed: float, *, is_first: bool) -> Iterator[Phrase]:
    sentences = split_sentences(text)
    for number, sentence in enumerate(sentences):
        pause_s = SENTENCE_PAUSE_S if number + 1 < len(sentences) else END_PAUSE_S
        rest = sentence
        if is_first and number == 0 and len(sentence) > FIRST_MAX_CHARS * speed:
            begin, rest = _cut_first(sentence, FIRST_MAX_CHARS * speed)
            if begin:
                yield Phrase(begin, choose_pause(begin))
        *pieces, last = _divide(rest, LATER_MAX_CHARS * speed)
        yield from (Phrase(piece, choose_pause(piece)) for piece in pieces)
        yield Phrase(last, pause_s)


def is_step(phonemes: str, speed: float) -> bool:
    """Return whether phonemes are at most about 5 s of sound."""
    return len(phonemes) + COMMA_PHONEMES * phonemes.count(",") <= MAX_PHONEMES * speed


def choose_pause(text: str) -> float:
    """Return the pause in s between `text` and the rest of its sentence."""
    return CLAUSE_PAUSE_S if _PUNCTUATION.search(text) else WORD_PAUSE_S


def halve(text: str, *, min_chars: int = MIN_CHARS) -> tuple[str, str] | None:
    """Return two parts of about the same length; None for a word, a number or a name."""
    words = text.split()
    if len(words) < 2:  # noqa: PLR2004
        return None
    ends = [len(" ".join(words[: number + 1])) for number in range(len(words) - 1)]
    length = len(" ".join(words))

    def rate(number: int) -> float:
        shorter = min(ends[number], length - ends[number])
        short = _SHORT_COST if shorter < min_chars else 0.0
        return _rate_break(words, number) + short + abs(ends[number] / length - 0.5) * 1.5

    best = min(range(len(ends)), key=rate) + 1
    if rate(best - 1) >= _SHORT_COST and length <= JOINED_MAX_CHARS:
        return None
    return " ".join(words[:best]), " ".join(words[best:])


def _divide(text: str, limit: float) -> list[str]:
    parts = halve(text) if len(text) > limit else None
    if parts is None:
        return [text]
    return [piece for part in parts for piece in _divide(part, limit)]


def _cut_first(sentence: str, limit: float) -> tuple[str, str]:
    """Return the beginning of a sentence, as long as the first phrase may be, and the rest."""
    words = sentence.split()
    ends = [len(" ".join(words[: number + 1])) for number in range(len(words) - 1)]
    fitting = [number for number, end in enumerate(ends) if MIN_CHARS <= end <= limit]
    clauses = [
        number
        for number, end in enumerate(ends)
        if limit < end <= FIRST_CLAUSE_RATIO * limit and _PUNCTUATION.search(words[number])
    ]
    best = min(fitting, key=lambda number: (_rate_break(words, number), -number), default=-1) + 1
    if clauses and (not best or _rate_break(words, best - 1) >= _COSTS["preposition"]):
        best = clauses[0] + 1
    if not best or _rate_break(words, best - 1) >= _JOINED_COST:
        return halve(sentence) or ("", sentence)
    return " ".join(words[:best]), " ".join(words[best:])


def _rate_break(words: list[str], number: int) -> float:
    """Return how much a break after the word `number` is heard; 0 is best."""
    before, after = words[number], words[number + 1]
    if _PUNCTUATION.search(before):
        return _COSTS["punctuation"]
    if (_is_number(before) and _is_number(after)) or (_is_name(before) and _is_name(after)):
        return _JOINED_COST
    kind = "word"
    if after in _CONJUNCTIONS:
        kind = "conjunction"
    elif after in _PREPOSITIONS:
        kind = "preposition"
    if _is_number(before):
        return _COSTS[kind] + _AMOUNT_COST  # "five | kilometers"
    return _COSTS[kind] + (_LEADING_COST if before.lower() in _LEADING_WORDS else 0.0)


@lru_cache(maxsize=2048)
def _is_number(word: str) -> bool:
    parts = word.lower().strip(".,;:!?").split("-")
    return word[:1].isdigit() or all(part in _NUMBER_WORDS for part in parts)


def _is_name(word: str) -> bool:
    return word[:1].isupper() and word != "I"
