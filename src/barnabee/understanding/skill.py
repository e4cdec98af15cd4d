"""Skills: the sentences they know, the values of their slots, and the replies they give.

A skill is a value of `Skill`. Its sentences are templates of hassil: `[optional]`, `(one|other)`,
`{slot}`. The same intents are the tools of the language model: a slot's kind and description become
the tool's parameters.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from random import Random
from typing import Any, Literal

from barnabee.understanding.interfaces import (
    Announcer,
    FactMemory,
    HomeControl,
    PastExchange,
    Schedule,
    SentenceEmbedder,
)

# What the parser of a slot returns: text -> str, number -> int | float, duration -> timedelta,
# time -> datetime.time, date -> datetime.date, moment -> datetime (aware), weekdays -> frozenset of
# 0 (Monday) to 6.
SlotKind = Literal["text", "number", "duration", "time", "date", "moment", "weekdays"]


@dataclass(frozen=True, slots=True)
class Slot:
    """A value in a sentence."""

    kind: SlotKind = "text"
    description: str = ""
    is_required: bool = True


@dataclass(frozen=True, slots=True)
class SkillIntent:
    """One thing a skill can do. `description` completes "Did you want me to …?"."""

    name: str
    description: str
    sentences: tuple[str, ...]
    slots: Mapping[str, Slot] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SkillCall:
    """A recognized intent with its parsed slots; `text` is the sentence without politeness."""

    intent: str
    slots: Mapping[str, Any]
    text: str


@dataclass(frozen=True, slots=True)
class Question:
    """A question that the reply asks: the next sentence goes first to the skill's `answer`.

    `data` is JSON and is stored with the session.
    """

    skill: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SkillReply:
    """Reply to a call.

    After `acted` something may have changed, so the command must not be repeated. `code` is the
    error code of a failure, `degraded` names the dependencies that failed. `targets` are the ids of
    the entities that "it" means from now on; `undo` are the service calls that restore their state,
    each with `service`, `entity_ids` and `data`. `latency_ms` are stages to report.
    """

    text: str
    acted: bool = False
    code: str | None = None
    degraded: tuple[str, ...] = ()
    actions: tuple[Mapping[str, Any], ...] = ()
    question: Question | None = None
    targets: tuple[str, ...] = ()
    undo: tuple[Mapping[str, Any], ...] = ()
    latency_ms: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SkillContext:
    """What a handler may use.

    `now` is in the time zone of the home. A service is None where it is not configured.
    """

    now: datetime
    room: str | None
    speaker: str | None
    history: Sequence[PastExchange]
    memory: FactMemory
    embedder: SentenceEmbedder
    home: HomeControl | None = None
    schedule: Schedule | None = None
    announcer: Announcer | None = None
    session_id: str | None = None
    random: Random = field(default_factory=Random)


Handler = Callable[[SkillCall, SkillContext], Awaitable[SkillReply | None]]
AnswerHandler = Callable[[Question, str, SkillContext], Awaitable[SkillReply | None]]


@dataclass(frozen=True, slots=True)
class Skill:
    """A skill. `handle` returns None for a sentence that is not the skill's after all.

    `answer` gets the sentence after a question of the skill; None when it is no answer to it.
    """

    name: str
    intents: tuple[SkillIntent, ...]
    handle: Handler
    answer: AnswerHandler | None = None
