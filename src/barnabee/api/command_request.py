"""What may be said to the API: reads the body of a command and refuses what cannot be one.

Pure. pydantic parses the raw bytes in one go, which is also where invalid UTF-8 and half surrogate
pairs end.
"""

from __future__ import annotations

import unicodedata
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from barnabee.core.errors import BadInput, BadRequest, InvalidUtterance, TooLarge

_WHITE = frozenset("\t\n\r")
_FORBIDDEN = frozenset({"Cc", "Cs"})


class Command(BaseModel):
    """One thing said to the house.

    `kept` is false for a question nobody asked, such as that of the probe: it is answered like any
    other, but is neither in the record nor in a session, unless it changed something.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    utterance: str = Field(examples=["turn on the kitchen light"])
    session_id: Annotated[str | None, Field(pattern=r"^[A-Za-z0-9_.:-]{1,64}$")] = None
    speaker: Annotated[str | None, Field(min_length=1, max_length=64)] = None
    kept: Annotated[bool, Field(strict=True)] = True


_COMMAND = TypeAdapter(Command)


def parse(body: bytes, *, max_chars: int) -> Command:
    """Return the command in `body`; a BadInput that names the field otherwise."""
    try:
        command = _COMMAND.validate_json(body)
    except ValidationError as error:
        raise explain(error) from error
    check_text(command.utterance, max_chars=max_chars)
    if command.speaker is not None and not command.speaker.isprintable():
        raise BadRequest(field="field `speaker`", reason="it has control characters")
    return command


def check_text(text: str, *, max_chars: int) -> None:
    """Return when `text` can be an utterance."""
    if len(text) > max_chars:
        raise TooLarge(field="field `utterance`", limit=f"{max_chars} characters")
    if not text.isprintable():
        for character in text:
            if character not in _WHITE and unicodedata.category(character) in _FORBIDDEN:
                reason = f"has the control character U+{ord(character):04X}"
                raise InvalidUtterance(reason=reason)
    if not any(map(str.isalnum, text)):
        raise InvalidUtterance(reason="has no words")


def explain(error: ValidationError) -> BadInput:
    """Return the first of the errors in a sentence that names the field."""
    first: dict[str, Any] = dict(error.errors()[0])
    name = ".".join(str(part) for part in first["loc"])
    reason = str(first["msg"])
    if first["type"] == "json_invalid":
        return BadRequest(field="body", reason=f"it must be JSON in UTF-8 ({reason})")
    if name == "utterance":
        missing = first["type"] == "missing"
        return InvalidUtterance(reason="is missing" if missing else "must be text")
    return BadRequest(field=f"field `{name}`" if name else "body", reason=reason)
