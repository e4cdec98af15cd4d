"""Interfaces of the services that a command uses, and the values they exchange.

Implemented in `clients` and `store`, and by fakes in tests.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
HomeKind = Literal["action_done", "query_answer", "error"]


@dataclass(frozen=True, slots=True)
class HomeAnswer:
    """Response of Home Assistant's conversation agent to a sentence.

    `code` is its error code (`no_intent_match`, `no_valid_targets`, ...), None without an error;
    `actions` are the affected targets, each with `type`, `name` and `id`.
    """

    kind: HomeKind
    speech: str
    code: str | None = None
    actions: tuple[dict[str, str], ...] = ()


class PastExchange(Protocol):
    """One earlier exchange of the conversation."""

    @property
    def utterance(self) -> str: ...

    @property
    def reply(self) -> str: ...

    @property
    def intent(self) -> str: ...

    @property
    def context(self) -> Mapping[str, Any]: ...


@dataclass(frozen=True, slots=True)
class KnownFact:
    """A remembered fact; without a `vector` if embeddings were not available then."""

    text: str
    vector: Vectors | None
    fact_id: str = ""
    created_at: str = ""  # 2025-01-31T12:00:00.000Z


class SentenceEmbedder(Protocol):
    """Embeds sentences."""

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """Return one row of 384 numbers and length 1 for each text, or raise Unavailable."""
        ...


@dataclass(frozen=True, slots=True)
class Entity:
    """A thing in Home Assistant that is exposed to Assist; `names` are its name, then aliases."""

    entity_id: str
    names: tuple[str, ...]
    area_id: str | None
    state: str
    attributes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def domain(self) -> str:
        return self.entity_id.partition(".")[0]

    @property
    def name(self) -> str:
        return self.names[0]

    @property
    def is_available(self) -> bool:
        return self.state not in {"unavailable", "unknown"}


@dataclass(frozen=True, slots=True)
class Area:
    """A room in Home Assistant; `names` are its name, then aliases."""

    area_id: str
    names: tuple[str, ...]
    floor_id: str | None = None


@dataclass(frozen=True, slots=True)
class Home:
    """Everything that Home Assistant exposes, as it is now.

    `floors` has the names by id, `device_areas` the ids of areas by those of devices.
    """

    entities: Mapping[str, Entity]
    areas: Mapping[str, Area]
    floors: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    time_zone: str | None = None
    is_metric: bool = True
    device_areas: Mapping[str, str] = field(default_factory=dict)


class HomeControl(Protocol):
    """Home Assistant: its conversation agent, its state and its services."""

    async def converse(
        self,
        text: str,
        *,
        conversation_id: str | None = None,
        language: str = "en",
        room: str | None = None,
        only: Collection[str] | None = None,
    ) -> HomeAnswer:
        """Return the response of the conversation agent to `text`, or raise Unavailable.

        With `only`, the agent does nothing if it would change other entities, unless the family
        taught it the sentence.
        """
        ...

    async def read_home(self) -> Home:
        """Return the home, from memory; raises Unavailable without a connection."""
        ...

    async def call_service(
        self,
        service: str,
        entity_ids: Collection[str] = (),
        data: Mapping[str, Any] | None = None,
        *,
        has_response: bool = False,
    ) -> Mapping[str, Any]:
        """Call `domain.service` and return its response, {} without one.

        Raises HomeRefused when Home Assistant does not carry it out, Unavailable when it does not
        answer.
        """
        ...


EntryKind = Literal["timer", "alarm", "reminder"]
EntryState = Literal["pending", "paused", "ringing", "missed", "done"]


@dataclass(frozen=True, slots=True)
class ScheduleEntry:
    """A timer, alarm or reminder.

    `due` is aware; while a timer is paused `remaining` counts. `weekdays` (0 is Monday) repeat an
    alarm or a reminder. `label` is the name of a timer or an alarm, or what to be reminded of;
    `speaker` is who is to be reminded, None: who set it.
    """

    entry_id: str
    kind: EntryKind
    due: datetime
    label: str = ""
    room: str | None = None
    speaker: str | None = None
    state: EntryState = "pending"
    remaining: timedelta | None = None
    weekdays: frozenset[int] = frozenset()


class Schedule(Protocol):
    """Timers, alarms and reminders, which ring by themselves. All methods raise Unavailable."""

    @property
    def snooze_for(self) -> timedelta: ...

    async def save(self, entry: ScheduleEntry) -> None:
        """Store a new or changed entry; after it returns, the entry rings even after a crash."""
        ...

    async def entries(self) -> Sequence[ScheduleEntry]:
        """Return all entries that are pending, paused, ringing or missed; the next due first."""
        ...

    async def cancel(self, entry_id: str) -> bool:
        """Delete an entry; False when there was none."""
        ...

    async def stop_ringing(self, room: str | None) -> Sequence[ScheduleEntry]:
        """Stop what rings in `room`, or everywhere; return what rang."""
        ...


class Announcer(Protocol):
    """Speaks in rooms without having been asked there."""

    async def announce(
        self, text: str, rooms: Collection[str] = (), *, besides: str | None = None
    ) -> Sequence[str]:
        """Say `text` in `rooms`, or in all that are connected but `besides`; return the rooms.

        A room in a conversation hears it afterwards. Raises Unavailable.
        """
        ...


@dataclass(frozen=True, slots=True)
class ToolRequest:
    """Call of a tool that the language model asks for; `arguments` is its JSON, unchecked."""

    call_id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """Request to a language model in OpenAI's form.

    `characters` are the lengths of what is sent, by kind: `sentence`, `history`, `home` …
    """

    messages: Sequence[Mapping[str, Any]]
    tools: Sequence[Mapping[str, Any]] = ()
    characters: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ModelRules:
    """What may be sent to a language model, from where, and how long its answers may be.

    `rooms` is empty where every room is allowed. `sent` are kinds of data beside the sentence.
    """

    rooms: frozenset[str] = frozenset()
    sent: frozenset[str] = frozenset({"history", "home", "room", "speaker", "results"})
    context_max_chars: int = 8000
    answer_max_chars: int = 900
    patience_s: float = 2.5  # without a first token; then the user hears that it takes longer


class LanguageModel(Protocol):
    """Language model that answers general questions and asks for tools."""

    @property
    def rules(self) -> ModelRules: ...

    def generate(self, request: ModelRequest) -> AsyncGenerator[str | ToolRequest, None]:
        """Yield the pieces of the text as they are generated, then the tools asked for.

        Raises LlmFailed, also after pieces. Closing the generator ends the generation.
        """
        ...


class SentenceSink(Protocol):
    """Receives the sentences of a reply while it is generated."""

    async def __call__(self, sentence: str) -> None: ...

    async def wait_closed(self) -> None:
        """Wait until the listener has left."""
        ...


class FactMemory(Protocol):
    """Store of the facts that the family asked to remember."""

    async def remember(self, text: str, vector: Vectors | None, speaker: str | None) -> list[str]:
        """Store `text` and return the failed dependencies; Unavailable if not stored."""
        ...

    async def facts(self) -> Sequence[KnownFact]:
        """Return all facts, oldest first, or raise Unavailable."""
        ...

    async def forget(self, fact_ids: Collection[str]) -> None:
        """Delete facts, or raise Unavailable."""
        ...
