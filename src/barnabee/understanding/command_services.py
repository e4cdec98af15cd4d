"""What commands use: the services that are configured, and where a command comes from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from barnabee.understanding.intent_recognizer import IntentRecognizer
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
