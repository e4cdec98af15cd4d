"""Recognition of sentences about the home: hassil with the names of this home.

The sentences are those of home-assistant-intents and, in `home_sentences.toml`, those it lacks.
Measured at 1000 entities: 0.2 to 1.5 ms a sentence, 100 ms for the first one.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from hassil import Intents, recognize_best
from hassil.expression import Alternative, Expression
from hassil.intents import Intent, IntentData, RangeSlotList, SlotList, TextSlotList
from hassil.recognize import RecognizeResult
from home_assistant_intents import get_intents

from barnabee.understanding.interfaces import Home
from barnabee.understanding.sentence_index import Clause, SentenceIndex
from barnabee.understanding.spoken_numbers import NUMBER_FRAGMENTS
from barnabee.understanding.words import fold_name

_OWN = "own"  # key of the metadata of our sentences
_OWN_SENTENCES = Path(__file__).with_name("home_sentences.toml")
# The others belong to skills: timers, lists, weather, media, dates.
_COMMUNITY_INTENTS = frozenset(
    {"HassTurnOn", "HassTurnOff", "HassLightSet", "HassGetState", "HassSetPosition"}
    | {"HassClimateGetTemperature", "HassClimateSetTemperature", "HassFanSetSpeed"}
    | {"HassVacuumStart", "HassVacuumReturnToBase"}
)
_SPELLINGS = {"colour": "color", "colours": "colors", "coloured": "colored", "grey": "gray"}
_SPELLING = re.compile(rf"\b(?:{'|'.join(_SPELLINGS)})\b")
_DEGREES = re.compile(
    r"\s*°\s*[cf]?\b|\b(degrees?) (?:celsius|centigrade|fahrenheit)\b", re.IGNORECASE
)
_SIZES = dict.fromkeys(("bit", "little", "slightly", "tad", "touch"), "small")
_SIZES |= dict.fromkeys(("lot", "lots", "much", "way"), "large")
# A replacement each, in this order.
_SOUNDS = (
    *(("tch", "ch"), ("gh", ""), ("ph", "f"), ("who", "ho"), ("kn", "n"), ("wr", "r")),
    *(("ck", "k"), ("c", "k"), ("q", "k"), ("z", "s"), ("x", "ks")),
)
_MAX_WORDS = 25  # of one command
_POINT = re.compile(r"(?<=\d)[.,](?=\d)")


@dataclass(frozen=True, slots=True)
class HomeRequest:
    """An intent and its slots, which are JSON: a name, area or floor is folded.

    `question` says how a question about states is meant: `one`, `which`, `any`, `all`, `how_many`.
    `is_common`: the sentence is one of home-assistant-intents, so Home Assistant may know it.
    """

    intent: str
    slots: Mapping[str, Any] = field(default_factory=dict)
    question: str = "one"
    is_common: bool = False


class HomeRecognizer:
    """Recognizes the sentences about one home."""

    def __init__(self, home: Home) -> None:
        self._areas, self._floors = home.areas, home.floors
        self._entities = [(entity.entity_id, entity.names) for entity in home.entities.values()]
        self._domains: dict[str, set[str]] = {}  # by folded name
        for entity in home.entities.values():
            for name in map(fold_spelling, entity.names):
                self._domains.setdefault(name, set()).add(entity.domain)
        areas = (name for area in home.areas.values() for name in area.names)
        floors = (name for names in home.floors.values() for name in names)
        self._area_names = frozenset(map(fold_spelling, areas))
        self._floor_names = frozenset(map(fold_spelling, floors))
        names = (*self._domains, *self._area_names)
        self._spaced = {name.replace(" ", ""): name for name in names}  # "counterlight"
        self._spaced |= {name: name for name in names}
        self._sounds: dict[str, set[str]] = {}  # words of names by their sound
        for name in names:
            for word in name.split():
                self._sounds.setdefault(make_sound_key(word), set()).add(word)

    def knows(self, home: Home) -> bool:
        """Return whether the names of `home` are those of this recognizer."""
        return (
            home.areas == self._areas
            and home.floors == self._floors
            and [(one.entity_id, one.names) for one in home.entities.values()] == self._entities
        )

    def recognize(self, text: str) -> HomeRequest | None:
        """Return what `text` asks of the home; None for a sentence about something else."""
        said = fold_sentence(text).split()
        words = [word for one in said for word in self._spaced.get(one, one).split()]
        if len(words) > _MAX_WORDS:
            return None
        found = self._match(words)
        if found is None:
            return self._recognize_misheard(words)
        return _make_request(found, words)

    def _recognize_misheard(self, words: list[str]) -> HomeRequest | None:
        """Return what is asked if one word is exchanged for a word of a name that sounds alike."""
        found = list[HomeRequest]()
        for position, word in enumerate(words):
            alike = self._sounds.get(make_sound_key(word), set())
            if len(alike) != 1 or word in alike:
                continue
            (exchanged,) = alike
            tried = [*words[:position], exchanged, *words[position + 1 :]]
            result = self._match(tried)
            request = _make_request(result, tried) if result is not None else HomeRequest("")
            named = f"{request.slots.get('name', '')} {request.slots.get('area', '')}"
            if exchanged in named.split():
                found.append(replace(request, is_common=False))
        return found[0] if len(found) == 1 else None

    def _match(self, words: list[str]) -> RecognizeResult | None:
        spans = [
            (start, end, " ".join(words[start:end]))
            for start in range(len(words))
            for end in range(start + 1, len(words) + 1)
        ]
        named = [span for span in spans if span[2] in self._domains]
        places = {
            text
            for start, end, text in spans
            if not any(one <= start and end <= other and text != name for one, other, name in named)
        }  # "kitchen" is no place in "kitchen lamp"
        names = [
            (name, name, {"domain": domain})
            for name in sorted({name for _, _, name in named})
            for domain in sorted(self._domains[name])
        ]
        said: dict[str, list[tuple[str, str, dict[str, str]]]] = {
            "name": names,
            "area": [(name, name, {}) for name in sorted(places & self._area_names)],
            "floor": [(name, name, {}) for name in sorted(places & self._floor_names)],
        }
        lists: dict[str, SlotList] = {
            key: TextSlotList.from_tuples(values, allow_template=False)
            for key, values in said.items()
        }
        kinds = {key for key, values in said.items() if values}
        kinds |= {context["domain"] for _, _, context in names}
        text = " ".join(words)
        sentences = load_sentences().select(text, kinds)
        return recognize_best(text, sentences, slot_lists=lists, best_slot_name="name")


def _make_request(found: RecognizeResult, words: list[str]) -> HomeRequest:
    slots = {name: entity.value for name, entity in found.entities.items()}
    if "name" in slots and "domain" not in slots:
        slots["domain"] = found.context.get("domain")
    if size := next((_SIZES[word] for word in words if word in _SIZES), None):
        slots["size"] = size
    is_own = bool((found.intent_metadata or {}).get(_OWN))
    question = _read_question(found.response)
    return HomeRequest(found.intent.name, slots, question, is_common=not is_own)


@lru_cache(maxsize=8192)
def make_sound_key(word: str) -> str:
    """Return the consonants as they sound: "light" and "lite" have one key, so "hall", "whole"."""
    for spelled, sound in _SOUNDS:
        word = word.replace(spelled, sound)
    consonants = re.sub(r"[aeiouy]", "", word)
    return re.sub(r"(.)\1+", r"\1", consonants)


class HomeSentences:
    """All templates, of which only those are matched that a text can be."""

    def __init__(self, intents: Intents) -> None:
        self._intents = intents
        self._index = SentenceIndex[tuple[str, IntentData]](intents.expansion_rules)
        lists = _make_lists(intents)
        for intent in intents.intents.values():
            for data in intent.data:
                names = _list_domains(data) or lists["name"]
                (sentence,) = data.sentences
                self._index.add((intent.name, data), sentence.expression, {**lists, "name": names})

    def select(self, text: str, kinds: Collection[str]) -> Intents:
        """Return the templates for a text that has words of these kinds: lists, domains of names.

        Where hassil skips words, the order of the others is left to it.
        """
        is_plain = not any(word in text for word in self._intents.skip_words)
        chosen: dict[str, Intent] = {}
        for name, data in self._index.find(text, map(_mark, kinds), in_order=is_plain):
            chosen.setdefault(name, Intent(name, [])).data.append(data)
        return replace(self._intents, intents=chosen)


@cache
def load_sentences() -> HomeSentences:
    """Return all sentences, parsed; 0.2 s at the first call."""
    community = get_intents("en") or {}
    own = tomllib.loads(_OWN_SENTENCES.read_text(encoding="utf-8"))
    intents: dict[str, dict[str, list[Any]]] = {}
    for source, is_own in ((community, False), (own, True)):
        for name, intent in source["intents"].items():
            if not is_own and name not in _COMMUNITY_INTENTS:
                continue
            data = intents.setdefault(name, {"data": []})["data"]
            data += (
                {**block, "sentences": [sentence], "metadata": {_OWN: is_own}}
                for block in intent["data"]
                for sentence in block["sentences"]
            )
    merged = {
        **community,
        "intents": intents,
        "lists": community["lists"] | own["lists"],
        "expansion_rules": community["expansion_rules"] | own["expansion_rules"],
    }
    return HomeSentences(Intents.from_dict(merged))


def warm_up() -> None:
    """Parse and use the sentences once; takes 0.3 s of the first command otherwise."""
    HomeRecognizer(Home({}, {})).recognize("turn on all the lights in the kitchen")


def _make_lists(intents: Intents) -> dict[str, Expression | Clause]:
    """Return what values the lists have; for names and places that of the home their mark."""
    lists: dict[str, Expression | Clause] = {
        kind: frozenset({_mark(kind)}) for kind in ("name", "area", "floor")
    }
    for key, values in intents.slot_lists.items():
        if isinstance(values, RangeSlotList):
            lists[key] = NUMBER_FRAGMENTS
        elif isinstance(values, TextSlotList):
            lists[key] = Alternative(items=[value.text_in for value in values.values])
    return lists


def _list_domains(data: IntentData) -> frozenset[str]:
    domains = data.requires_context.get("domain") or ()
    return frozenset(map(_mark, [domains] if isinstance(domains, str) else domains))


def _mark(kind: str) -> str:
    return f"{{{kind}}}"  # in no text, because of the brackets


def fold_sentence(text: str) -> str:
    """Return a sentence as the templates are written: like a name, with decimal numbers."""
    text = _POINT.sub(" point ", _DEGREES.sub(" degrees ", text))
    return fold_spelling(text.replace("per cent", "percent"))


@lru_cache(maxsize=8192)
def fold_spelling(name: str) -> str:
    """Return the folded name in American spelling."""
    return _SPELLING.sub(lambda word: _SPELLINGS[word[0]], fold_name(name))


def _read_question(response: str | None) -> str:
    for kind in ("how_many", "which", "any", "all"):
        if response == kind or (response or "").startswith(f"{kind}_"):
            return kind
    return "one"
