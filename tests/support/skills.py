"""A dialogue with skills: sentences are matched and handled, without the rest of the processing."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from barnabee.core.errors import DependencyDown
from barnabee.understanding.interfaces import (
    HomeControl,
    KnownFact,
    Schedule,
    Vectors,
)
from barnabee.understanding.sentence_matcher import SentenceMatcher
from barnabee.understanding.skill import Question, Skill, SkillCall, SkillContext, SkillReply
from support.home import FakeHome

NOW = datetime(2026, 11, 28, 15, 20, tzinfo=ZoneInfo("Europe/Amsterdam"))  # a Saturday


@dataclass
class FakeMemory:
    """Notes in memory; `error` fails everything."""

    known: list[KnownFact] = field(default_factory=list)
    error: Exception | None = None
    remembered: int = 0

    async def remember(self, text: str, vector: Vectors | None, speaker: str | None) -> list[str]:
        self._check()
        self.remembered += 1
        self.known.append(KnownFact(text, vector, f"fact-{self.remembered}"))
        return []

    async def facts(self) -> Sequence[KnownFact]:
        self._check()
        return list(self.known)

    async def forget(self, fact_ids: Collection[str]) -> None:
        self._check()
        self.known = [fact for fact in self.known if fact.fact_id not in fact_ids]

    def _check(self) -> None:
        if self.error is not None:
            raise self.error


class NoEmbedder:
    """An embedder that is not there."""

    async def embed(self, texts: Sequence[str]) -> Vectors:
        if texts:
            raise DependencyDown(dependency="gpu", reason="none in this test")
        return np.zeros((0, 384), dtype=np.float32)


@dataclass
class FakeAnnouncer:
    """Remembers what was announced; all rooms hear it."""

    rooms: tuple[str, ...] = ("kitchen", "living room")
    said: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)

    async def announce(
        self, text: str, rooms: Collection[str] = (), *, besides: str | None = None
    ) -> Sequence[str]:
        wanted = [room for room in self.rooms if room != besides]
        reached = tuple(room for room in wanted if not rooms or room in rooms)
        self.said.append((text, reached))
        return reached


@dataclass(frozen=True)
class PastReply:
    """A `PastExchange`."""

    utterance: str
    reply: str
    intent: str
    context: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class SkillDialogue:
    """Says sentences to skills; an open question of the last reply is answered first."""

    skills: Sequence[Skill]
    home: HomeControl | None = field(default_factory=FakeHome)
    room: str | None = None
    speaker: str | None = None
    now: datetime = NOW
    schedule: Schedule | None = None
    announcer: FakeAnnouncer | None = None
    memory: FakeMemory = field(default_factory=FakeMemory)
    random: Random = field(default_factory=lambda: Random(1))  # noqa: S311 - repeatable
    question: Question | None = None
    calls: list[SkillCall] = field(default_factory=list)
    history: list[PastReply] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.matcher = SentenceMatcher(self.skills)

    async def say(self, text: str) -> SkillReply | None:
        """Return the reply of the first skill that has one."""
        asked = self.question.skill if self.question is not None else ""
        answer = await self._answer(text)
        reply = answer or await self._handle(text)
        self.question = reply.question if reply is not None else None
        if reply is not None:
            intent = asked if answer else self.calls[-1].intent
            self.history.append(PastReply(text, reply.text, intent))
        return reply

    async def _answer(self, text: str) -> SkillReply | None:
        if self.question is None:
            return None
        skill = next(one for one in self.skills if one.name == self.question.skill)
        return await skill.answer(self.question, text, self._context()) if skill.answer else None

    async def _handle(self, text: str) -> SkillReply | None:
        for call in self.matcher.match(text, self.now):
            self.calls.append(call)
            owner = next(
                skill for skill in self.skills if call.intent in {one.name for one in skill.intents}
            )
            if (reply := await owner.handle(call, self._context())) is not None:
                return reply
        return None

    def _context(self) -> SkillContext:
        return SkillContext(
            now=self.now,
            room=self.room,
            speaker=self.speaker,
            history=self.history,
            memory=self.memory,
            embedder=NoEmbedder(),
            home=self.home,
            schedule=self.schedule,
            announcer=self.announcer,
            random=self.random,
        )
