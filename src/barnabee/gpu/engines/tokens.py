"""Words and sentences out of the tokens of a transducer such as Parakeet.

Pure. A transducer says when a token begins and how likely it was, not when it ends, and writes the
beginning of a word as a blank before the token.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from barnabee.gpu.engines.protocols import Segment, Word

# The longest step a TDT model predicts is 4 encoder frames of 80 ms: a token lasts no longer.
TOKEN_MAX_S = 0.32
_SENTENCE_ENDS = (".", "?", "!", "…")
_QUOTES = "\"'\u201d\u2019)»"
_CLOSERS = frozenset(f".,;:!?…%]{_QUOTES}")


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of a word (a blank before it begins a word), when it begins, how likely it was."""

    text: str
    start_s: float
    log_probability: float


@dataclass
class _Spoken:
    """A word in the making."""

    text: str
    start_s: float
    last_s: float
    logs: list[float] = field(default_factory=list)

    def word(self, next_s: float) -> Word:
        end_s = max(self.last_s, min(next_s, self.last_s + TOKEN_MAX_S))
        confidence = min(1.0, math.exp(sum(self.logs) / len(self.logs)))
        return Word(self.start_s, end_s, self.text, confidence)


def segments(tokens: Sequence[Token], end_s: float, *, words: bool) -> Iterator[Segment]:
    """Yield one segment for each sentence; `end_s` is where the sound ends."""
    spoken = _spoken(tokens)
    begun = 0
    for number, one in enumerate(spoken):
        if number + 1 < len(spoken) and not one.text.rstrip(_QUOTES).endswith(_SENTENCE_ENDS):
            continue
        after_s = spoken[number + 1].start_s if number + 1 < len(spoken) else end_s
        yield _segment(spoken[begun : number + 1], after_s, words=words)
        begun = number + 1


def _segment(spoken: Sequence[_Spoken], after_s: float, *, words: bool) -> Segment:
    starts = [*(one.start_s for one in spoken[1:]), after_s]
    found = tuple(one.word(next_s) for one, next_s in zip(spoken, starts, strict=True))
    logs = [log for one in spoken for log in one.logs]
    return Segment(
        found[0].start_s,
        found[-1].end_s,
        "".join(word.text for word in found),
        sum(logs) / len(logs),
        0.0,  # a transducer has no such figure: it emits nothing where nothing is said
        found if words else (),
    )


def _spoken(tokens: Sequence[Token]) -> list[_Spoken]:
    found: list[_Spoken] = []
    for token in tokens:
        bare = token.text.strip()
        if not bare or (bare.startswith("<") and bare.endswith(">")):  # <unk>, <|nospeech|>
            continue
        closes = all(character in _CLOSERS for character in bare)
        begins = token.text[:1].isspace() and not closes
        if begins or not found:
            found.append(_Spoken(f" {bare}", token.start_s, token.start_s))
        else:
            found[-1].text += bare
            if not closes:  # a full stop comes with the silence after the word
                found[-1].last_s = token.start_s
        found[-1].logs.append(token.log_probability)
    return found
