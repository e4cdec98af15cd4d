"""A conversation by voice: its turns as data, the judgement of each, and its transcript."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

from support.first_week import (
    Turn,
    Verdict,
    classify,
    fill,
    find_reply_problems,
    read_turn,
)

_WORD = re.compile(r"[a-z0-9]+")
_CLEAR = 0.5  # share of the words of a reply that its transcript has
_VOICE_KEYS = frozenset({"model", "after_ring", "is_interrupted"})
_COLUMNS = ("said", "heard", "replied", "read back")


@dataclass(frozen=True)
class SpokenTurn:
    """One sentence of the conversation; see the head of the file."""

    turn: Turn
    model: str = ""
    after_ring: str = ""
    is_interrupted: bool = False


@dataclass(frozen=True)
class Record:
    """One line of the transcript."""

    said: str
    heard: str
    reply: str
    read_back: str
    verdict: Verdict = "right"
    reason: str = ""

    def __str__(self) -> str:
        """Return the line of a report."""
        shown = f"{self.verdict:10} {self.said!r} heard as {self.heard!r} -> {self.reply!r}"
        return f"{shown} read back {self.read_back!r}{f' ({self.reason})' if self.reason else ''}"


def load_spoken_turns(path: Path) -> list[SpokenTurn]:
    """Return the turns of a file."""
    turns = tomllib.loads(path.read_text(encoding="utf-8"))["turn"]
    return [_read_spoken_turn(entry) for entry in turns]


def judge(turn: Turn, record: Record, problems: Sequence[str], today: date) -> Record:
    """Return `record` with its verdict: the reply must be right and be understood when heard.

    `problems` are those at home.
    """
    problems = [*problems, *find_reply_problems(turn, record.reply, today)]
    verdict = classify(turn, record.reply, problems, today)
    if verdict == "right":
        problems = _find_sound_problems(turn, record, today)
        verdict = "wrong" if problems else "right"
    return replace(record, verdict=verdict, reason="; ".join(problems))


def make_table(records: Sequence[Record]) -> str:
    """Return the transcript in Markdown, with what is not right below it."""
    lines = [f"| | {' | '.join(_COLUMNS)} |", f"|---|{'---|' * len(_COLUMNS)}"]
    for number, one in enumerate(records, start=1):
        cells = (str(number), one.said, one.heard, one.reply, one.read_back)
        lines.append(f"| {' | '.join(map(_escape, cells))} |")
    wrong = [f"- {_escape(str(one))}" for one in records if one.verdict != "right"]
    if wrong:
        lines += ["", "Not right:", "", *wrong]
    return "\n".join(lines) + "\n"


def _read_spoken_turn(entry: Mapping[str, Any]) -> SpokenTurn:
    turn = read_turn({key: value for key, value in entry.items() if key not in _VOICE_KEYS})
    return SpokenTurn(turn, **{key: entry[key] for key in _VOICE_KEYS & entry.keys()})


def _find_sound_problems(turn: Turn, record: Record, today: date) -> list[str]:
    """Return what is wrong with the transcript of the spoken reply."""
    if turn.says is not None:
        pattern, read_back = fill(turn.says, today), record.read_back.replace("-", " ")
        is_clear = re.search(pattern, read_back, re.IGNORECASE | re.DOTALL) is not None
        return [] if is_clear else [f"{turn.says!r} is not heard"]
    words, known = _split(record.reply), set(_split(record.read_back))
    share = sum(word in known for word in words) / max(1, len(words))
    return [] if share >= _CLEAR else [f"{share:.0%} of the words are heard"]


def _split(text: str) -> list[str]:
    return _WORD.findall(text.lower().replace("%", " percent"))


def _escape(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").strip()
