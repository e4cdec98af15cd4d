"""Words with which commands begin, and names written so that they can be compared."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from barnabee.understanding.spoken_numbers import ONES, TENS, replace_number_words

_AND = re.compile(r"\s*[&+]\s*")
_APOSTROPHE = re.compile(r"['\u2018\u2019`\u00b4]")
_NOT_WORD = re.compile(r"[\W_]+")
_ARTICLE = re.compile(r"^(?:(?:the|a|an|my|our|your) )+(?=\w)")
_NUMBER = re.compile(rf"\d|\b(?:{'|'.join((*ONES, *TENS))})")
_WRITTEN = {"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "ł": "l"}


def make_word_set(words: str) -> frozenset[str]:
    return frozenset(words.split())


# Commands that nothing else than a command begins with.
STRONG_VERBS = make_word_set(
    "turn switch set dim brighten lower raise open close shut lock unlock arm disarm activate mute "
    "unmute increase decrease adjust remind remember tell cancel pause resume announce broadcast "
    "snooze wake add remove delete start stop play make put show repeat forget run roll flip "
    "calculate convert spell translate undo"
)
VERBS = STRONG_VERBS | make_word_set(
    "give say note ask check read toss find change reduce clean vacuum mop send dock water heat "
    "cool warm list define clear kill enable disable power take keep pick choose explain sing get "
    "create schedule mark tick cross bring pull count skip call buy order leave let look light use "
    "stay save speak help draw"
)
HOME_VERBS = frozenset({"turn", "switch", "dim", "brighten", "open", "close", "lock", "unlock"})
QUESTION_WORDS = make_word_set(
    "what what's whats who who's when when's where where's which why how how's is are was were do "
    "does did will has have isn't aren't can could should would am any"
)
STARTS = VERBS | QUESTION_WORDS | {"lights", "everything", "all", "volume", "good", "i", "it's"}
NUMBER = (
    r"(?:zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|"
    r"fifteen|sixteen|seventeen|eighteen|nineteen|twenty|thirty|forty|fifty|sixty|seventy|eighty|"
    r"ninety|hundred|half|quarter|\d[\d.,:]*)"
)
# Words for kinds of things: a name that ends with one is complete.
THINGS = make_word_set(
    "light lights lamp lamps fan fans tv television blind blinds curtain curtains shade shades "
    "shutter shutters door doors window windows garage heater heating thermostat radiator "
    "speaker speakers radio music socket plug outlet switch vacuum robot oven machine kettle "
    "dishwasher washer dryer alarm lock locks scene timer timers ac everything sprinkler "
    "sprinklers heat boiler chandelier spotlight spotlights spots strip bulb bulbs volume"
)
ROOMS = make_word_set(
    "kitchen bedroom bathroom hall hallway office garage garden attic basement nursery balcony "
    "porch upstairs downstairs study room floor house cellar loft patio terrace shed"
)
# After these, the rest of the sentence is what the user dictates.
_DICTATION = re.compile(
    r"(?:remember|note|remind|keep in mind|don't forget|do not forget|never forget|announce|"
    r"broadcast|tell (?!me\b|us\b)|say (?!that again|it again)|ask (?!me\b)|spell|translate|define|"
    r"how (?:do|would) (?:you|i|we) (?:spell|say|write)|what rhymes|sing|save this|"
    r"(?:make|take|write) (?:a |me a )?note|write)\b",
    re.IGNORECASE,
)


def first_word(text: str) -> str:
    """Return the first word in lower case, without punctuation."""
    return text.split(maxsplit=1)[0].strip(".,!?;:").lower() if text.strip() else ""


def is_thing(text: str) -> bool:
    """Return whether `text` ends with a kind of thing or of room: "hall light", "bedroom"."""
    return text.lower().split()[-1] in THINGS | ROOMS


def is_noun_phrase(text: str) -> bool:
    """Return whether `text` begins with an article: "the hall light", "my lamp"."""
    return first_word(text) in {"the", "my", "our", "all"} and len(text.split()) > 1


def is_dictation(text: str) -> bool:
    """Return whether `text` begins like something to be remembered, said or spelled."""
    return _DICTATION.match(text) is not None


def to_verb(gerund: str) -> str | None:
    """Return "turn" for "turning", None for what is no verb of a command."""
    stem = gerund.lower().removesuffix("ing")
    if stem == gerund.lower():
        return None
    doubled = stem[:-1] if stem[-2:-1] == stem[-1:] else ""
    return next((verb for verb in (stem, f"{stem}e", doubled) if verb in VERBS), None)


@lru_cache(maxsize=8192)
def fold_name(name: str) -> str:
    """Return `name` without case, accents, punctuation and article, and with figures.

    "The Café-Lamp Two" and "cafe lamp 2" are the same; so are "&" and "and".
    """
    text = _APOSTROPHE.sub("", _AND.sub(" and ", name.casefold()))
    text = "".join(_WRITTEN.get(character, character) for character in text)
    decomposed = unicodedata.normalize("NFKD", text)
    plain = "".join(part for part in decomposed if not unicodedata.combining(part))
    words = _NOT_WORD.sub(" ", plain).strip()
    if _NUMBER.search(words):
        words = replace_number_words(words)
    return _ARTICLE.sub("", words)
