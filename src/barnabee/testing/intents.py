"""Measures how well sentences are understood, against labelled ones: tables instead of feelings.

Pure: sentences, labels and a function that decides come in. Used by scripts/measure_intents.py and
by the test that holds the measured figures.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from barnabee.understanding import facts
from barnabee.understanding.intent_examples import Intent
from barnabee.understanding.intent_index import Band, Decision

CONVERSATION = frozenset({"chat", "none"})
Decide = Callable[[str], Decision]


@dataclass(frozen=True)
class Verdict:
    """What became of one labelled sentence.

    right    does what is meant (conversation counts when nothing else took it)
    asked    asks back, and offers what is meant
    missed   is treated as conversation although something is meant
    passed   is conversation, but given to the house first, which does not know it and passes it on
    wrong    does, or offers, something else
    """

    label: str
    text: str
    kind: str
    decision: Decision


@dataclass(frozen=True)
class Tally:
    """The verdicts on a set of sentences."""

    verdicts: tuple[Verdict, ...]

    def share(self, kind: str, *, conversation: bool) -> float:
        """Return the share of `kind` among commands, or among conversation."""
        mine = [one for one in self.verdicts if (one.label in CONVERSATION) == conversation]
        return Counter(one.kind for one in mine)[kind] / len(mine)

    def row(self) -> dict[str, float]:
        """Return the figures of one line of the table, as shares of 1."""
        return {
            **{
                f"commands {kind}": self.share(kind, conversation=False)
                for kind in ("right", "asked", "missed", "wrong")
            },
            **{
                f"conversation {kind}": self.share(kind, conversation=True)
                for kind in ("right", "passed", "asked", "wrong")
            },
        }


def labelled(path: Path) -> list[tuple[str, str]]:
    """Return (label, sentence) for everything in a file of tests/data."""
    table: Mapping[str, list[str]] = tomllib.loads(path.read_text(encoding="utf-8"))
    return [(label, text) for label, texts in table.items() for text in texts]


def judge(
    sentences: Iterable[tuple[str, str]], decide: Decide, known: Mapping[str, Intent]
) -> Tally:
    """Return the verdict on each sentence, with the rules of `process` that need no seam."""
    return Tally(
        tuple(
            Verdict(label, text, _kind(label, text, decision, known), decision)
            for label, text in sentences
            for decision in (decide(text),)
        )
    )


def _kind(label: str, text: str, decision: Decision, known: Mapping[str, Intent]) -> str:
    if facts.told(text) is not None:
        return "right" if label == "remember" else "wrong"
    if facts.asked(text):
        return "right" if label == "recall" else "wrong"
    to = known[decision.intent].to
    if label in CONVERSATION:
        return _kind_of_conversation(decision, to)
    if decision.band is Band.NONE or to == "llm":
        return "right" if label == "recall" else "missed"  # facts are looked at before the model
    same = decision.intent == label or to == known[label].to != "local"
    if decision.band is Band.ACCEPT:
        return "right" if same else "wrong"
    return "asked" if same or decision.other == label else "wrong"


def _kind_of_conversation(decision: Decision, to: str) -> str:
    if decision.band is Band.NONE or to == "llm":
        return "right"
    if to == "home":
        return "passed"
    return "asked" if decision.band is Band.ASK else "wrong"
