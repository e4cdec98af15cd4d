"""Evaluation of intent recognition with labelled sentences.

Used by scripts/measure_intents.py and by the test of the measured accuracy.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from barnabee.skills import load_skills
from barnabee.understanding.intent_recognizer import ConfidenceBand, Intent, IntentDecision
from barnabee.understanding.sentence_matcher import SentenceMatcher

CONVERSATION = frozenset({"chat", "none"})
_SERVICES = frozenset(
    {"timers", "alarms", "reminders", "lists", "media", "weather", "calendar", "routines"}
    | {"broadcast", "ringing"}
)
_SMALLTALK = frozenset({"smalltalk"})
# The skills that may answer the sentences of a label.
_SKILLS_OF: Mapping[str, AbstractSet[str]] = {
    "time": {"clock"},
    "date": {"clock", "dates"},
    "remember": {"notes"},
    "recall": {"recall", "notes"},
    "home_control": _SERVICES,
    "home_query": _SERVICES,
    "chat": {"arithmetic", "conversion", "spelling", "games", "clock", "dates", "sun"},
    "none": set(),
}
_SKILLS = load_skills()
_SKILL_OF = {intent.name: skill.name for skill in _SKILLS for intent in skill.intents}
_INTENTS = {intent.name: intent for skill in _SKILLS for intent in skill.intents}
_FREE = frozenset({"remember", "recall", "recall_about"})  # sure in spite of free words
_MATCHER = SentenceMatcher(_SKILLS)
_NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
Decide = Callable[[str], IntentDecision]


@dataclass(frozen=True)
class SentenceVerdict:
    """Verdict on one labelled sentence.

    right    the labelled intent, or conversation that is handled as such
    asked    a clarifying question that offers the labelled intent
    missed   handled as conversation instead of the labelled intent
    passed   conversation that Home Assistant gets first and passes on
    wrong    another intent, or a question about another
    """

    label: str
    text: str
    kind: str
    decision: IntentDecision


@dataclass(frozen=True)
class EvaluationResult:
    """Verdicts on a set of sentences."""

    verdicts: tuple[SentenceVerdict, ...]

    def share(self, kind: str, *, conversation: bool) -> float:
        """Return the share of `kind` among the commands, or among the conversation."""
        kinds = [
            verdict.kind
            for verdict in self.verdicts
            if (verdict.label in CONVERSATION) == conversation
        ]
        return Counter(kinds)[kind] / len(kinds)

    def row(self) -> dict[str, float]:
        """Return one row of the table, as shares of 1."""
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


def read_labelled_sentences(path: Path) -> list[tuple[str, str]]:
    """Return the (label, sentence) pairs of a file in tests/data."""
    table: Mapping[str, list[str]] = tomllib.loads(path.read_text(encoding="utf-8"))
    return [(label, text) for label, texts in table.items() for text in texts]


def evaluate_sentences(
    sentences: Iterable[tuple[str, str]], decide: Decide, intents: Mapping[str, Intent]
) -> EvaluationResult:
    """Return the verdicts, with the rules of `process_command` that need no services."""
    return EvaluationResult(
        tuple(
            SentenceVerdict(label, text, _kind(label, text, decision, intents), decision)
            for label, text in sentences
            for decision in (decide(text),)
        )
    )


def _kind(label: str, text: str, decision: IntentDecision, intents: Mapping[str, Intent]) -> str:
    skills = _find_sure_skills(text)
    if skills:
        return "right" if skills & _SKILLS_OF.get(label, _SMALLTALK) else "wrong"
    handler = intents[decision.intent].handler
    if label in CONVERSATION:
        return _kind_of_conversation(decision, handler)
    if decision.band is ConfidenceBand.NONE or handler == "llm":
        return "right" if label == "recall" else "missed"  # facts come before the model
    same = decision.intent == label or handler == intents[label].handler != "skill"
    if decision.band is ConfidenceBand.ACCEPT:
        return "right" if same else "wrong"
    return "asked" if same or decision.alternative == label else "wrong"


def _find_sure_skills(text: str) -> set[str]:
    """Return the skills whose sentence `text` is, without free words. One may pass it on."""
    return {
        _SKILL_OF[call.intent]
        for call in _MATCHER.match(text, _NOW)
        if call.intent in _FREE
        or all(_INTENTS[call.intent].slots[name].kind != "text" for name in call.slots)
    }


def _kind_of_conversation(decision: IntentDecision, handler: str) -> str:
    if decision.band is ConfidenceBand.NONE or handler == "llm":
        return "right"
    if handler == "home":
        return "passed"
    return "asked" if decision.band is ConfidenceBand.ASK else "wrong"
