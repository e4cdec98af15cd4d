"""Tables of what commands use: the language model, routines, and timers, alarms and reminders."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from barnabee.core.schema.services import Count, Milliseconds, Name, Seconds, Text, TomlTable

SentKind = Literal["history", "home", "room", "speaker", "results"]


class LlmConfig(TomlTable):
    """Language model: its server, the limits of an answer, and what may be sent to it.

    `openai` is every server with OpenAI's API, also one of this machine; `gpu` is the model of the
    gpu service, `[model]` with the task "llm". With `none` no connection is made.
    """

    provider: Literal["none", "gpu", "openai", "azure"]
    url: Annotated[str, Field(pattern="^(https?://[^\\s]+)?$")]
    model: str  # of Azure the name of the deployment
    api_version: str  # of Azure
    context_max_chars: Annotated[int, Field(ge=1000, le=1_000_000)]  # instructions and history
    answer_max_chars: Annotated[int, Field(ge=50, le=20_000)]
    answer_max_tokens: Count  # thoughts included
    first_token_ms: Milliseconds
    stall_ms: Milliseconds  # between two tokens
    answer_ms: Milliseconds  # the whole answer
    check_every_s: Seconds  # one token is asked for so often
    rooms: list[Name]  # only there; empty: everywhere
    send: list[SentKind]  # beside the sentence itself


class ScheduleConfig(TomlTable):
    """How long timers, alarms and reminders ring, and what happens when they are not heard."""

    ring_for_s: Seconds  # not stopped by then: missed, reported at the next command in the room
    louder_after_s: Seconds  # the chime gets louder after this and twice this time
    late_s: Seconds  # a ring later than this says that it is late
    too_late_s: Seconds  # what was due longer ago does not ring and is reported as missed
    snooze_minutes: Count
    announce_within_s: Seconds  # how long an announcement waits for a conversation to end


ServiceName = Annotated[str, Field(pattern=r"^[a-z0-9_]+\.[a-z0-9_]+$")]
EntityId = Annotated[str, Field(pattern=r"^[a-z0-9_]+\.[a-z0-9_]+$")]
Sentence = Annotated[str, Field(pattern=r"^[^{}<>;:]*[a-zA-Z][^{}<>;:]*$")]


class RoutineAction(TomlTable):
    """One service call of Home Assistant."""

    service: ServiceName
    entities: list[EntityId] = []
    data: dict[str, str | int | bool] = {}


class RoutineConfig(TomlTable):
    """A routine: `[optional]` and `(one|other)` may be used in its sentences."""

    sentences: Annotated[list[Sentence], Field(min_length=1)]
    actions: Annotated[list[RoutineAction], Field(min_length=1)]
    say: Text = "Okay."
