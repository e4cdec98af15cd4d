"""What commands use, and what a command has led to."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from barnabee.understanding.intent_recognizer import ConfidenceBand, IntentRecognizer
from barnabee.understanding.interfaces import (
    Announcer,
    FactMemory,
    HomeControl,
    LanguageModel,
    PastExchange,
    Schedule,
)
from barnabee.understanding.sentence_matcher import SentenceMatcher
from barnabee.understanding.skill import Question, Skill, SkillContext, SkillReply


class HomeController(Protocol):
    """Home control, by Home Assistant's conversation agent and by our own recognizer."""

    async def handle(self, text: str, context: SkillContext) -> SkillReply | None:
        """Carry `text` out; None if it is no sentence about the home."""
        ...

    async def answer(
        self, question: Question, text: str, context: SkillContext
    ) -> SkillReply | None:
        """Go on after a question; None if `text` is no answer to it."""
        ...


@dataclass(frozen=True)
class CommandServices:
    """Services that commands use; None if not configured.

    `now` gets the time zone of the home, None when it is not known.
    """

    recognizer: IntentRecognizer
    memory: FactMemory
    skills: tuple[Skill, ...]
    matcher: SentenceMatcher
    now: Callable[[str | None], datetime]
    home: HomeControl | None = None
    home_controller: HomeController | None = None
    llm: LanguageModel | None = None
    schedule: Schedule | None = None
    announcer: Announcer | None = None
    skill_by_intent: dict[str, Skill] = field(init=False)

    def __post_init__(self) -> None:
        by_intent = {intent.name: skill for skill in self.skills for intent in skill.intents}
        object.__setattr__(self, "skill_by_intent", by_intent)

    def find_intent(self, name: str) -> Skill | None:
        """Return the skill with this intent, if the intent needs no slots."""
        skill = self.skill_by_intent.get(name)
        intents = skill.intents if skill is not None else ()
        needed = (intent.slots.values() for intent in intents if intent.name == name)
        return None if any(slot.is_required for slots in needed for slot in slots) else skill

    def find_skill(self, name: str) -> Skill | None:
        return next((skill for skill in self.skills if skill.name == name), None)


@dataclass(frozen=True, slots=True)
class CommandSource:
    """Where a command comes from: the conversation, its speaker and the room."""

    history: Sequence[PastExchange] = ()
    session_id: str | None = None
    speaker: str | None = None
    room: str | None = None


@dataclass(slots=True)
class CommandOutcome:
    """Result of a command.

    `context` is kept with the exchange for the next one. After `acted` something may have changed,
    so the command must not be repeated. `code` is the error code of the first failure.
    """

    reply: str = ""
    intent: str = "none"
    band: ConfidenceBand = ConfidenceBand.ACCEPT
    acted: bool = False
    code: str | None = None
    actions: list[dict[str, Any]] = field(default_factory=list)
    degraded: list[str] = field(default_factory=list)
    latency_ms: dict[str, float] = field(default_factory=dict)
    context: dict[str, Any] = field(default_factory=dict)
    _sentences: list[str] = field(default_factory=list)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the duration of the block to the latency of stage `name`."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            duration_ms = (time.perf_counter() - begun) * 1000
            self.latency_ms[name] = round(self.latency_ms.get(name, 0.0) + duration_ms, 3)

    def add_degraded(self, dependency: str) -> None:
        """Record that a dependency was needed and failed."""
        if dependency not in self.degraded:
            self.degraded.append(dependency)

    def add_reply(self, intent: str, reply: SkillReply, text: str | None) -> None:
        """Add the reply to one clause; `text` is what a follow-up can refer to, if anything.

        A question is heard last, because the next sentence answers it. There is only one.
        """
        if not self._sentences or reply.code or self.code is None:
            self.intent = intent
        self._add_sentence(reply)
        self.acted = self.acted or reply.acted
        self.code = self.code or reply.code
        self.actions += [dict(action) for action in reply.actions]
        self.latency_ms |= reply.latency_ms
        for dependency in reply.degraded:
            self.add_degraded(dependency)
        self._add_context(reply, text)

    def has_question(self) -> bool:
        return "question" in self.context

    def _add_sentence(self, reply: SkillReply) -> None:
        if reply.text and reply.text not in self._sentences:
            before = self.has_question() and len(self._sentences) > 0
            self._sentences.insert(len(self._sentences) - int(before), reply.text)
        self.reply = " ".join(self._sentences)

    def _add_context(self, reply: SkillReply, text: str | None) -> None:
        if reply.targets:
            known = self.context.get("targets", ())
            self.context["targets"] = [*known, *(one for one in reply.targets if one not in known)]
        if reply.undo:  # the last change is undone first
            self.context["undo"] = [*map(dict, reply.undo), *self.context.get("undo", ())]
        if reply.question is not None:
            self.context["question"] = encode_question(reply.question)
        if text is not None:
            self.context["text"] = text


def encode_question(question: Question) -> dict[str, Any]:
    """Return the JSON of a question, for `read_question`."""
    return {"skill": question.skill, "data": dict(question.data)}


def read_question(context: Mapping[str, Any]) -> Question | None:
    """Return the question that an exchange has left open."""
    match context.get("question"):
        case {"skill": str(skill), "data": dict(data)}:
            return Question(skill, data)
    return None
