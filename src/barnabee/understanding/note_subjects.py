"""What a note is about: which notes answer a question, and which one a new note replaces.

Pure. A note answers a question only if it has every word of it that carries meaning; of common
verbs it may have another one if its embedding is similar. Similarity alone is no measure: "what's
the password for netflix" is as close to the wifi password as a paraphrase is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from barnabee.understanding.interfaces import KnownFact, Vectors
from barnabee.understanding.spoken_dates import MONTHS, WEEKDAYS
from barnabee.understanding.spoken_numbers import NUMBER_WORDS, ORDINAL_WORDS, replace_number_words

_WORD = re.compile(r"[a-z0-9]+(?:'[a-z]+)?")
_CONTRACTION = re.compile(
    r"\b(what|where|when|who|how|it|that|there|here|he|she|let|which)'s\b|(\w+)'(?:re|m|ve|ll|d)\b"
)
MIN_SIMILARITY = 0.65  # cosine; questions about other subjects reach 0.6
_COMMON_VERBS = frozenset(
    "put like come pay go take bring get arrive leave start begin happen live work need want use "
    "eat drink make keep call see meet visit give move stay".split()
)
_GENERAL_QUESTION = re.compile(r"(?:why|(?:what|who) (?:is|are|was) an?|who (?:invent|wrote))\b")
_STOP_WORDS = frozenset(
    "a an the this that these those my our your his her their its i me we us you he she it "
    "they him them mine ours yours is are was were be been being am do does did done has "
    "have had having can could will would shall should may might must not and or of to for "
    "in on at by with from about into up out as what which who whom whose when where why "
    "how there here please again now new current currently exactly actually tell told know "
    "remember remind say said ask anything something thing stuff note still also just so if "
    "than then too s t ca wo".split()
)
_SAME_WORDS = (
    "code pin passcode password",
    "wifi internet",
    "bin trash garbage rubbish dustbin",
    "mum mom mommy mummy mother",
    "dad daddy father",
    "grandma granny nana grandmother gran",
    "grandpa granddad grandfather",
    "kid child children",
    "phone telephone mobile cellphone",
    "birthday born birth",
    "like love favorite favourite prefer enjoy",
    "eat allergic allergy food",
    "called named name",
    "car auto",
    "color colour",
    "take bring go",
    "tv television telly",
    "parcel package",
)
_CANONICAL = {word: line.split()[0] for line in _SAME_WORDS for word in line.split()}
_ENDINGS = (
    *(("ies", "y", 4), ("sses", "ss", 4), ("xes", "x", 3), ("ches", "ch", 4), ("s", "", 3)),
    *(("ing", "", 5), ("ed", "", 4)),
)
_NO_PLURALS = ("ss", "us", "is")
_PLACING = frozenset(
    "put leave left park parked hide hid hidden store stored keep kept stash find located locate "
    "lie lay laid".split()
)
_STATE = re.compile(r"\b(on|off)(?= (?:in|at|right|now)\b|$)")
_PLACE = re.compile(
    r"\b(?:in|on|under|underneath|behind|inside|near|next to|above|below|by|beside|between|at|over|"
    r"upstairs|downstairs|outside|home|top|left|right|from|with)\b"
)
_TIME = re.compile(
    rf"\d|\b(?:{'|'.join((*MONTHS, *WEEKDAYS))}|o'clock|noon|midnight|morning|afternoon|evening|"
    r"night|every|daily|weekly|monthly|weekends?|breakfast|lunch|dinner|bedtime|school|today|tomorrow|week|year|month|christmas|easter|"
    rf"{'|'.join(ORDINAL_WORDS)})s?\b"
)
_QUANTITY = re.compile(rf"\d|\b(?:{'|'.join(NUMBER_WORDS - {'a', 'an', 'and', 'of', 'point'})})\b")
_NEEDS = (
    (re.compile(r"where\b"), _PLACE),
    (re.compile(r"(?:when|(?:what|which) (?:time|day|date))\b"), _TIME),
    (re.compile(r"how (?:many|much|old|tall|long|big|far|often)\b"), _QUANTITY),
)
_STATEMENT = re.compile(
    r"(?:actually |now |so |and )?(?P<subject>\S.*?) "
    r"(?P<verb>(?:has )?changed to|is now|are now|is|are|was|were) (?:now )?(?P<value>\S.*)",
    re.IGNORECASE,
)
_NEW = re.compile(r"^(the|my|our|your|his|her) (?:new|current) ", re.IGNORECASE)
_DETERMINED = re.compile(r"^(?:the|my|our|his|her|their) |'s ", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Statement:
    """A note of the form "the gate code is 1234"; `words` are those of its subject."""

    subject: str
    verb: str
    value: str
    words: frozenset[str]


def extract_words(text: str) -> frozenset[str]:
    """Return the words that carry meaning, in one form each: "keys" and "key" are the same."""
    return frozenset(_fold_word(word) for word in _split(text) if word not in _STOP_WORDS)


def find_notes(question: str, notes: Sequence[KnownFact]) -> list[KnownFact]:
    """Return the notes that answer `question`, the newest first."""
    asked = _lower(question).strip(" ?.!")
    return _find_notes(asked, _extract_asked(asked), notes)


def find_loosely(question: str, notes: Sequence[KnownFact]) -> list[KnownFact]:
    """Return the notes that answer `question` if they are also similar: verbs may differ."""
    asked = _lower(question).strip(" ?.!")
    return _find_notes(asked, _extract_asked(asked) - set(map(_fold_word, _COMMON_VERBS)), notes)


def choose_similar(vector: Vectors, notes: Sequence[KnownFact]) -> list[KnownFact]:
    """Return the most similar of `notes` if it is similar enough, as a list of one or none."""
    scores = [
        float(np.dot(vector, note.vector))
        if note.vector is not None and note.vector.shape == vector.shape
        else 0.0
        for note in notes
    ]
    best = int(np.argmax(scores)) if scores else 0
    return [notes[best]] if scores and scores[best] >= MIN_SIMILARITY else []


def _extract_asked(asked: str) -> frozenset[str]:
    words = set(extract_words(asked)) | {f"{state[1]}!" for state in _STATE.finditer(asked)}
    if asked.startswith("where"):
        words = words - set(map(_fold_word, _PLACING)) or words
    if re.match(r"(?:what|which) (?:time|day|date)\b", asked):
        words -= set(map(_fold_word, ("time", "day", "date")))
    return frozenset(words)


def _find_notes(asked: str, words: frozenset[str], notes: Sequence[KnownFact]) -> list[KnownFact]:
    if _GENERAL_QUESTION.match(asked):
        return []
    needed = [pattern for opening, pattern in _NEEDS if opening.match(asked)]
    found = [
        note
        for note in notes
        if _is_about(words, asked, note.text)
        and all(pattern.search(note.text.lower()) for pattern in needed)
    ]
    return found[::-1]


def find_notes_about(subject: str, notes: Sequence[KnownFact]) -> list[KnownFact]:
    """Return the notes that have all words of `subject`, the newest first."""
    words = extract_words(subject)
    return [note for note in notes if words and words <= extract_words(note.text)][::-1]


def parse_statement(text: str) -> Statement | None:
    """Return subject and value of "the new gate code is now 5678", None for other sentences."""
    match = _STATEMENT.fullmatch(text)
    if match is None:
        return None
    subject = _NEW.sub(r"\1 ", match["subject"])
    verb = re.sub(r"(?:has )?changed to", "is", match["verb"].lower()).removesuffix(" now")
    return Statement(subject, verb, match["value"], extract_words(subject))


def find_replaced(new: Statement, notes: Sequence[KnownFact]) -> KnownFact | None:
    """Return the newest note with the subject of `new`, which it replaces.

    Of a person ("Emma is allergic to nuts") and of a single thing several notes can be true, so
    these are replaced only if both say where it is.
    """
    for note in reversed(notes):
        old = parse_statement(note.text)
        if old is None or old.words != new.words or not new.words:
            continue
        is_one_value = len(new.words) > 1 and _DETERMINED.search(new.subject) is not None
        are_places = bool(_PLACE.match(old.value) and _PLACE.match(new.value))
        if is_one_value or are_places:
            return note
    return None


def _is_about(words: frozenset[str], asked: str, note: str) -> bool:
    note_words = extract_words(note) | {
        f"{word}!" for word in _split(note) if word in {"on", "off"}
    }
    statement = parse_statement(note)
    owners = _find_owners(statement.subject if statement else note)
    return bool(words) and words <= note_words and owners <= extract_words(asked)


def _find_owners(text: str) -> frozenset[str]:
    """Return whose things `text` is about: mum and sister of "mum's sister's birthday"."""
    return frozenset(_fold_word(word[:-2]) for word in _split(text) if word.endswith("'s"))


def _lower(text: str) -> str:
    return " ".join(text.lower().replace("\u2019", "'").replace("wi-fi", "wifi").split())


def _split(text: str) -> list[str]:
    plain = _lower(text).replace("n't", " not")
    plain = _CONTRACTION.sub(lambda match: match[1] or match[2], plain)
    return _WORD.findall(replace_number_words(plain, with_ordinals=True))


def _fold_word(word: str) -> str:
    """Return `word` without the ending of a plural or a verb: "arrives" and "arriving" are one."""
    word = word.removesuffix("'s").removesuffix("'")
    word = _CANONICAL.get(word, word)
    for ending, shorter, least in _ENDINGS:
        if word.endswith(ending) and len(word) > least and not word.endswith(_NO_PLURALS):
            word = word.removesuffix(ending) + shorter
            break
    word = _CANONICAL.get(word, _CANONICAL.get(f"{word}e", word))
    return word.removesuffix("e") if len(word) > 3 else word  # noqa: PLR2004 - "the" stays
