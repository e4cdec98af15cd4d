"""Which timer, alarm or reminder a sentence means. Pure, but for the question."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from barnabee.understanding.entity_lookup import join_names
from barnabee.understanding.interfaces import EntryKind, ScheduleEntry
from barnabee.understanding.names import fold_name
from barnabee.understanding.schedule_phrases import name_entry, say_when
from barnabee.understanding.skill import Question, SkillReply
from barnabee.understanding.slots import parse_duration

NOT_CONFIGURED = SkillReply("I can't keep time here: no schedule is set up.", code="not_configured")
_KEPT = {"pending", "paused", "ringing"}
_NOT_A_LABEL = re.compile(
    r"\b(?:timer|alarm|reminder|the|my|for|one(?![ -](?:second|minute|hour)))\b", re.IGNORECASE
)
_ALL = re.compile(r"\b(?:all|every|everything|both)\b", re.IGNORECASE)


def add_time(now: datetime, duration: timedelta) -> datetime:
    """Return the moment after `duration`, also across a change of the clocks."""
    return (now.astimezone(UTC) + duration).astimezone(now.tzinfo)


def list_kept(entries: Sequence[ScheduleEntry], kind: EntryKind) -> list[ScheduleEntry]:
    """Return the entries of a kind that are not over, the next due first."""
    return [entry for entry in entries if entry.kind == kind and entry.state in _KEPT]


def names_all(text: str) -> bool:
    """Return whether a sentence means all entries of its kind."""
    return _ALL.search(text) is not None


def find_by_label(entries: Sequence[ScheduleEntry], label: str | None) -> list[ScheduleEntry]:
    """Return the entries that `label` can mean, or all without one."""
    if not label:
        return list(entries)
    wanted = _fold(label)
    exact = [entry for entry in entries if _fold(entry.label) == wanted]
    return exact or [entry for entry in entries if wanted and wanted in _fold(entry.label)]


def ask_which(skill: str, found: Sequence[ScheduleEntry], data: Mapping[str, Any]) -> SkillReply:
    """Return the question which of several entries is meant."""
    names = join_names([f"the {name_entry(entry)}" for entry in found], "or")
    return SkillReply(f"Which one: {names}?", question=Question(skill, data))


def tell_entry(entry: ScheduleEntry, now: datetime) -> str:
    """Return "school alarm tomorrow at 7 AM"."""
    return f"{name_entry(entry)} {say_when(entry.due, now)}"


def _fold(label: str) -> str:
    """Return a label for comparison: "ten minutes" is the "10 minute" timer."""
    text = _NOT_A_LABEL.sub(" ", label)
    duration = parse_duration(text.strip())
    return str(duration) if duration is not None else fold_name(text.strip())
