"""Names of rooms and things, written in one way so that they can be compared."""

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
