"""Request bodies that are validated from raw JSON bytes: commands and turn timings.

pydantic parses the bytes in one step and rejects invalid UTF-8 and lone surrogates. Errors name the
field. Pure.
"""

from __future__ import annotations

import unicodedata
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from barnabee.core.errors import BadInput, BadRequest, InvalidUtterance, TooLarge

_WHITE_SPACE = frozenset("\t\n\r")
_FORBIDDEN_CATEGORIES = frozenset({"Cc", "Cs"})


class CommandRequest(BaseModel):
    """A command to the assistant.

    With `kept` false, as in a probe, the command is answered like any other but neither recorded
    nor part of a session, unless it changed something. `room` is where it was spoken.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    utterance: str = Field(examples=["turn on the kitchen light"])
    session_id: Annotated[str | None, Field(pattern=r"^[A-Za-z0-9_.:-]{1,64}$")] = None
    speaker: Annotated[str | None, Field(min_length=1, max_length=64)] = None
    room: Annotated[str | None, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}$")] = None
    kept: Annotated[bool, Field(strict=True)] = True


_COMMAND = TypeAdapter(CommandRequest)


def parse_command(body: bytes, *, max_chars: int) -> CommandRequest:
    """Return the command in `body`; raises BadInput that names the field."""
    try:
        command = _COMMAND.validate_json(body)
    except ValidationError as error:
        raise make_bad_input(error) from error
    check_utterance(command.utterance, max_chars=max_chars)
    if command.speaker is not None and not command.speaker.isprintable():
        raise BadRequest(field="field `speaker`", reason="it has control characters")
    return command


def check_utterance(text: str, *, max_chars: int) -> None:
    """Raise BadInput unless `text` has words, no control characters and at most `max_chars`."""
    if len(text) > max_chars:
        raise TooLarge(field="field `utterance`", limit=f"{max_chars} characters")
    if not text.isprintable():
        for character in text:
            if (
                character not in _WHITE_SPACE
                and unicodedata.category(character) in _FORBIDDEN_CATEGORIES
            ):
                reason = f"has the control character U+{ord(character):04X}"
                raise InvalidUtterance(reason=reason)
    if not any(map(str.isalnum, text)):
        raise InvalidUtterance(reason="has no words")


def make_bad_input(error: ValidationError) -> BadInput:
    """Return the first of the validation errors as an error that names the field."""
    first: dict[str, Any] = dict(error.errors()[0])
    name = ".".join(str(part) for part in first["loc"])
    reason = str(first["msg"])
    if first["type"] == "json_invalid":
        return BadRequest(field="body", reason=f"it must be JSON in UTF-8 ({reason})")
    if name == "utterance":
        missing = first["type"] == "missing"
        return InvalidUtterance(reason="is missing" if missing else "must be text")
    return BadRequest(field=f"field `{name}`" if name else "body", reason=reason)


# The keys of [stage] in system.toml, and `command` for the whole time in the api.
StageName = Literal[
    "wake", "vad", "stt", "command", "intent", "home", "llm", "tts_first_byte", "first_audio"
]
HOUR_MS = 3_600_000
Identifier = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}$")]


class StageTimingBody(BaseModel):
    """Start of a stage, relative to the end of speech, and its duration."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    at_ms: Annotated[float, Field(ge=-HOUR_MS, le=HOUR_MS)]
    took_ms: Annotated[float, Field(ge=0, le=HOUR_MS)]


class TurnTimingsRequest(BaseModel):
    """What the voice service measured of a spoken turn."""

    model_config = ConfigDict(extra="forbid", strict=True)

    room: Identifier
    said_at: Annotated[
        str,
        Field(
            pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$",
            examples=["2025-01-31T12:00:00.000Z"],
        ),
    ]
    stages: dict[StageName, StageTimingBody]
    engine: Identifier | None = None
    filler: Annotated[str | None, Field(max_length=200)] = None
    interrupted: bool = False
    heard: Annotated[str | None, Field(max_length=20_000)] = None
    degraded: Annotated[list[Identifier], Field(max_length=20)] = []
    code: Identifier | None = None


_TURN_TIMINGS = TypeAdapter(TurnTimingsRequest)


def parse_turn_timings(body: bytes) -> TurnTimingsRequest:
    """Return the turn timings in `body`; raises BadRequest that names the field."""
    try:
        return _TURN_TIMINGS.validate_json(body)
    except ValidationError as error:
        raise make_bad_input(error) from error
