"""Sentences of skills: hassil's templates as regular expressions.

hassil parses the templates. It is not used to match them: its wildcards take any words, so that a
sentence with two free slots ("remind me to {what} {moment}") is never split between them. Here a
slot takes only the words that its kind can have. 497 templates take 0.1 to 0.6 ms. Case and
punctuation do not matter, "what's" is "what is".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from itertools import islice, product
from typing import Any

from hassil import parse_sentence
from hassil.expression import Alternative, Expression, Group, ListReference, TextChunk
from hassil.parser import ParseError

from barnabee.understanding.sentence_index import SentenceIndex
from barnabee.understanding.skill import Skill, SkillCall, SkillIntent, Slot, SlotKind
from barnabee.understanding.slots import MAX_VALUE_WORDS, SLOT_WORDS, parse_slot

MAX_VARIANTS = 64
# A space in a template: also punctuation, and nothing where an optional part is not said.
_SPACE = r"(?:[ ,;:]+|-|(?<=[ ,;:-])|^|$)"
_FREE_TEXT = r"\S+(?: \S+)*?"
_WHAT_IS = re.compile(r"\b(what|where|who|when|how)(?:'s|s)\b", re.IGNORECASE)
_QUOTES = str.maketrans("’‘“”", "''\"\"")  # noqa: RUF001 - what phones and transcripts write
_UNHEARD = re.compile(r"[\"()]|[.!?…]+(?=\s|$)")


@dataclass(frozen=True, slots=True)
class _Template:
    """One sentence of an intent."""

    intent: SkillIntent
    expression: Expression
    pattern: str

    def list_patterns(self) -> Iterator[re.Pattern[str]]:
        """Return `pattern`, then one for each way to choose among its parts with slots.

        These are compiled only if `pattern` matches with a text that is no value of its slot.
        """
        yield _compile_pattern(self.pattern)
        variants = _list_variants(self.expression, self.intent.slots)
        yield from map(_compile_pattern, islice(variants, MAX_VARIANTS))


class SentenceMatcher:
    """Finds the skills' intents whose sentences a text is."""

    def __init__(self, skills: Sequence[Skill]) -> None:
        self._index = SentenceIndex[_Template]()
        for skill in skills:
            for intent in skill.intents:
                for sentence in intent.sentences:
                    template = _parse_template(intent, sentence)
                    self._index.add(template, template.expression)

    def match(self, text: str, now: datetime) -> Sequence[SkillCall]:
        """Return the calls that `text` can mean, one for each intent; fewest free words first.

        Times and days are relative to `now`, which is aware and in the time zone of the home.
        """
        said = clean_sentence(text)
        lowered = said.lower()
        if len(lowered) != len(said):
            said = lowered
        best: dict[str, tuple[tuple[int, int], SkillCall]] = {}
        for template in self._index.find(lowered):
            found, values = _match_template(template, lowered, said, now)
            if values is None:
                continue
            cost = _count_free_words(template.intent.slots, found)
            name = template.intent.name
            if name not in best or cost < best[name][0]:
                best[name] = (cost, SkillCall(name, values, said))
        return [call for _, call in sorted(best.values(), key=lambda entry: entry[0])]


def clean_sentence(text: str) -> str:
    """Return `text` without quotation marks, brackets and ends of sentences, with "what is"."""
    words = _UNHEARD.sub(" ", text.translate(_QUOTES)).split()
    return _WHAT_IS.sub(r"\1 is", " ".join(words)).strip(" ,;:")


def parse_slots(
    slots: Mapping[str, Slot], found: Mapping[str, str], now: datetime
) -> dict[str, Any] | None:
    """Return the values of the slots that were `found`; None if one is missing or not of its kind.

    A time is taken as on the day that another slot names, if there is one.
    """
    has_day = any(slots[name].kind in {"date", "weekdays"} for name in found)
    values = {
        name: parse_slot(slots[name].kind, text, now, has_day=has_day)
        for name, text in found.items()
    }
    is_complete = all(name in values for name, slot in slots.items() if slot.is_required)
    return values if is_complete and None not in values.values() else None


def _match_template(
    template: _Template, lowered: str, said: str, now: datetime
) -> tuple[dict[str, str], dict[str, Any] | None]:
    """Return the texts of the slots and their values, None for these if it does not match."""
    if _compile_pattern(template.pattern).fullmatch(lowered) is None:
        return {}, None
    for pattern in template.list_patterns():
        if match := pattern.fullmatch(lowered):
            names = (name for name, text in match.groupdict().items() if text is not None)
            found = {name: said[slice(*match.span(name))].strip(" ,;:") for name in names}
            values = parse_slots(template.intent.slots, found, now)
            if values is not None:
                return found, values
    return {}, None


def _count_free_words(slots: Mapping[str, Slot], found: Mapping[str, str]) -> tuple[int, int]:
    free = sum(len(text.split()) for name, text in found.items() if slots[name].kind == "text")
    return free, sum(len(text.split()) for text in found.values())


def _parse_template(intent: SkillIntent, sentence: str) -> _Template:
    try:
        expression = parse_sentence(_WHAT_IS.sub(r"\1 is", sentence.lower())).expression
        pattern = _make_pattern(expression, intent.slots)
        _check_slots(pattern)
        return _Template(intent, expression, pattern)
    except (ValueError, KeyError, ParseError) as error:
        message = f"sentence {sentence!r} of {intent.name}: {error}"
        raise ValueError(message) from error


def _check_slots(pattern: str) -> None:
    names = re.findall(r"\(\?P<(\w+)>", pattern)
    if len(set(names)) < len(names):
        message = "it names a slot twice"
        raise ValueError(message)


@cache
def _compile_pattern(pattern: str) -> re.Pattern[str]:
    """Compile once in a process and when it is needed: all patterns together take a second."""
    return re.compile(pattern)


def _make_pattern(expression: Expression, slots: Mapping[str, Slot]) -> str:
    if isinstance(expression, TextChunk):
        return re.sub(r"(?:\\ )+", lambda _: _SPACE, re.escape(expression.text))
    if isinstance(expression, ListReference):
        return _name_slot(expression, _SLOT_PATTERNS[slots[expression.slot_name].kind])
    if isinstance(expression, Alternative):
        return f"(?:{'|'.join(_make_pattern(item, slots) for item in expression.items)})"
    if isinstance(expression, Group):
        return "".join(_make_pattern(item, slots) for item in expression.items)
    message = f"{type(expression).__name__} is not supported"
    raise ValueError(message)


def _list_variants(expression: Expression, slots: Mapping[str, Slot]) -> Iterator[str]:
    """Return the patterns in which each part with slots is chosen and greedy or not."""
    if isinstance(expression, ListReference):
        pattern = _SLOT_PATTERNS[slots[expression.slot_name].kind]
        lazy = f"{pattern}?" if pattern.endswith("}") else pattern
        yield from (_name_slot(expression, choice) for choice in dict.fromkeys((pattern, lazy)))
    elif not isinstance(expression, Group) or not any(expression.list_references()):
        yield _make_pattern(expression, slots)
    elif isinstance(expression, Alternative):
        for item in expression.items:
            yield from _list_variants(item, slots)
    else:
        choices = [tuple(_list_variants(item, slots)) for item in expression.items]
        yield from map("".join, product(*choices))


def _name_slot(slot: ListReference, pattern: str) -> str:
    return rf"(?<!\w)(?P<{slot.slot_name}>{pattern})(?!\w)"


def _make_slot_pattern(kind: SlotKind) -> str:
    words = SLOT_WORDS.get(kind)
    if words is None:
        return _FREE_TEXT
    one = "|".join(map(re.escape, sorted(words, key=len, reverse=True)))
    # A moment does not begin in "parents evening on Tuesday".
    begin = r"(?!(?:morning|afternoon|evening|night) (?:on|at|in|next)\b)" * (kind == "moment")
    word = rf"(?:(?:{one})(?!\w)|[-.]?\d[\w.:/°%-]*|[½¼¾⅓⅔⅛])"
    return rf"{begin}{word}(?:[ ,-]+{word}){{0,{MAX_VALUE_WORDS - 1}}}"


_SLOT_PATTERNS = {
    kind: _make_slot_pattern(kind)
    for kind in ("text", "number", "duration", "time", "date", "moment", "weekdays")
}
