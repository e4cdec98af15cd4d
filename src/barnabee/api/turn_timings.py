"""What the voice may say of a turn: reads the body and refuses what cannot be one. Pure."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from barnabee.api.command_request import explain

# the keys of [stage] in system.toml, and all that the api itself did
StageName = Literal[
    "wake", "vad", "stt", "command", "intent", "home", "llm", "tts_first_byte", "first_audio"
]
HOUR_MS = 3_600_000
Word = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}$")]


class StageTime(BaseModel):
    """When a stage began, from the moment the person stopped speaking, and how long it took."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    at_ms: Annotated[float, Field(ge=-HOUR_MS, le=HOUR_MS)]
    took_ms: Annotated[float, Field(ge=0, le=HOUR_MS)]


class SpokenTurn(BaseModel):
    """How one turn was heard and spoken."""

    model_config = ConfigDict(extra="forbid", strict=True)

    room: Word
    said_at: Annotated[
        str,
        Field(
            pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$",
            examples=["2025-01-31T12:00:00.000Z"],
        ),
    ]
    stages: dict[StageName, StageTime]
    engine: Word | None = None
    filler: Annotated[str | None, Field(max_length=200)] = None
    interrupted: bool = False
    heard: Annotated[str | None, Field(max_length=20_000)] = None
    degraded: Annotated[list[Word], Field(max_length=20)] = []
    code: Word | None = None


_SPOKEN = TypeAdapter(SpokenTurn)


def parse(body: bytes) -> SpokenTurn:
    """Return what `body` says; BadRequest names the field that is wrong."""
    try:
        return _SPOKEN.validate_json(body)
    except ValidationError as error:
        raise explain(error) from error
