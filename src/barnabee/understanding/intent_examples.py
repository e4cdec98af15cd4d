"""The example sentences of every intent, read from `intents.toml`, and how a sentence is cleaned.

Pure but for reading its own data file; knows neither vectors nor services.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal

_NAME = r"(?:barnabee|barnaby|barnabie|barney)"
_CALL = re.compile(rf"^(?:(?:hey|hi|ok|okay|hello)\s+)?{_NAME}\b[\s,.!?]*", re.IGNORECASE)
_CLOSE = re.compile(rf"[\s,]+{_NAME}[\s.!?]*$", re.IGNORECASE)
_PLEASE = re.compile(r"^please[\s,]+|[\s,]+please[\s.!?]*$", re.IGNORECASE)
_SPACE = re.compile(r"\s+")


@dataclass(frozen=True)
class Intent:
    """One thing that can be meant."""

    name: str
    does: str
    to: Literal["home", "local", "llm"]
    examples: tuple[str, ...]


@cache
def intents() -> dict[str, Intent]:
    """Return every intent by name, in the order of the file."""
    text = files("barnabee.understanding").joinpath("intents.toml").read_text(encoding="utf-8")
    return {
        name: Intent(name, table["does"], table["to"], tuple(table["examples"]))
        for name, table in tomllib.loads(text).items()
    }


def sentences(known: dict[str, Intent]) -> list[str]:
    """Return all examples, intent after intent."""
    return [example for intent in known.values() for example in intent.examples]


def fingerprint(known: dict[str, Intent]) -> str:
    """Return a hash that changes when any example does."""
    return hashlib.sha256("\n".join(sentences(known)).encode()).hexdigest()[:16]


def tidy(utterance: str) -> str:
    """Return the sentence without the assistant's name, a "please" and its full stop.

    A sentence that is nothing but these is left as it is.
    """
    text = _SPACE.sub(" ", utterance).replace("\u2019", "'").strip()
    for pattern in (_CALL, _CLOSE, _PLEASE, _PLEASE):
        shorter = pattern.sub("", text, count=1).strip()
        text = shorter or text
    return text.rstrip(" .!?,;") or text
