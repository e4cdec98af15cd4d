"""A home, a timer and notes for turns of the language model, which record what is done."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np

from barnabee.understanding.interfaces import KnownFact, ToolRequest, Vectors
from barnabee.understanding.skill import (
    Question,
    Skill,
    SkillCall,
    SkillContext,
    SkillIntent,
    SkillReply,
    Slot,
)
from support.home import FakeHome

NOW = datetime(2026, 11, 29, 18, 30, tzinfo=UTC)


@dataclass
class RecordedSkill:
    """A skill with a timer, which acts, and notes, which tell what was said."""

    note: str = "The gate code is 1234."
    calls: list[SkillCall] = field(default_factory=list)

    async def handle(self, call: SkillCall, _context: SkillContext) -> SkillReply | None:
        self.calls.append(call)
        if call.intent == "note_read":
            return SkillReply(self.note)
        if call.intent == "notes_clear":
            return SkillReply("Delete all notes?", question=Question("notes", {}))
        return SkillReply(f"Timer set for {call.slots['duration']}.", acted=True)

    def make(self) -> Skill:
        timer = SkillIntent(
            "timer_set",
            "set a timer",
            ("set a timer for {duration}",),
            {"duration": Slot("duration"), "label": Slot(is_required=False)},
        )
        read = SkillIntent("note_read", "tell what was noted", ("what did i note",))
        clear = SkillIntent("notes_clear", "delete all notes", ("delete my notes",))
        return Skill("test", (timer, read, clear), self.handle)


@dataclass
class RecordedHome:
    """Home control that carries out every sentence; `questions` are those it asks first."""

    sentences: list[str] = field(default_factory=list)
    questions: tuple[str, ...] = ()

    async def handle(self, text: str, _context: SkillContext) -> SkillReply | None:
        if text.startswith("what is the state of"):
            return SkillReply(f"{text.removeprefix('what is the state of ')} is on.")
        if text in self.questions:
            return SkillReply(f"Shall I {text}?", question=Question("home", {}))
        if "nowhere" in text:
            return None
        self.sentences.append(text)
        return SkillReply("Okay.", acted=True, targets=("light.one",))


@dataclass
class RecordedSink:
    """A listener to sentences; `close` makes it leave."""

    sentences: list[str] = field(default_factory=list)
    _closed: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, sentence: str) -> None:
        self.sentences.append(sentence)

    async def wait_closed(self) -> None:
        await self._closed.wait()

    def close(self) -> None:
        self._closed.set()


class FakeMemory:
    """A family without notes."""

    async def remember(self, text: str, vector: Vectors | None, speaker: str | None) -> list[str]:
        raise AssertionError(text)

    async def facts(self) -> Sequence[KnownFact]:
        return ()

    async def forget(self, fact_ids: object) -> None:
        raise AssertionError(fact_ids)


class FakeEmbedder:
    """Vectors of letters."""

    def __init__(self) -> None:
        self.count = 0

    async def embed(self, texts: Sequence[str]) -> Vectors:
        self.count += len(texts)
        rows = np.array(
            [[text.lower().count(letter) + 0.01 for letter in "aeioustnr"] for text in texts],
            np.float32,
        )
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def make_context(**changes: Any) -> SkillContext:
    fields: dict[str, Any] = {
        "now": NOW,
        "room": "kitchen",
        "speaker": None,
        "history": (),
        "memory": FakeMemory(),
        "embedder": FakeEmbedder(),
    }
    return SkillContext(**fields | changes)


def make_home() -> FakeHome:
    home = FakeHome()
    home.add("light.kitchen", "Kitchen light", "off", area="kitchen")
    home.add("light.garage", "Garage light", "off", area="garage")
    return home


def request_tool(name: str, arguments: str) -> ToolRequest:
    return ToolRequest(f"call-{name}", name, arguments)
