"""A conversation with the home controller: sentences, open questions and what can be undone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, cast

from barnabee.understanding.home_controller import HomeController
from barnabee.understanding.interfaces import FactMemory, SentenceEmbedder
from barnabee.understanding.skill import Question, SkillContext, SkillReply

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)


@dataclass(frozen=True)
class HeardExchange:
    """A `PastExchange`."""

    utterance: str
    reply: str
    context: Mapping[str, Any]
    intent: str = "home_control"


@dataclass
class HomeConversation:
    """What command processing does with the home, for one session in `room`."""

    controller: HomeController
    room: str | None = "kitchen"
    now: datetime = NOW
    history: list[HeardExchange] = field(default_factory=list)
    question: Question | None = None

    async def say(self, text: str) -> SkillReply | None:
        """Return the reply; a question of the last one gets `text` first."""
        context = SkillContext(
            now=self.now,
            room=self.room,
            speaker=None,
            history=tuple(self.history),
            memory=cast(FactMemory, None),
            embedder=cast(SentenceEmbedder, None),
        )
        reply = None
        if self.question is not None:
            reply = await self.controller.answer(self.question, text, context)
        if reply is None:
            reply = await self.controller.handle(text, context)
        self.question = reply.question if reply else None
        if reply is not None:
            undone = {"undo": [dict(call) for call in reply.undo]}
            self.history.append(HeardExchange(text, reply.text, undone))
        return reply

    async def hear(self, text: str) -> str:
        """Return the words of the reply, "" without one."""
        reply = await self.say(text)
        return reply.text if reply else ""
