"""HTTP routes of the inference service, OpenAI-compatible, and the checks they share."""

from __future__ import annotations

from typing import Annotated

from fastapi import Header

from barnabee.core.errors import BadRequest, TooLarge

# Session of the request: while it holds a turn, its models are not evicted for other sessions.
SessionHeader = Annotated[str, Header(alias="X-Barnabee-Session", max_length=200)]


def require_text(text: str, *, field: str, max_chars: int) -> str:
    """Return `text`; BadRequest when it is empty or not valid text, TooLarge when too long."""
    if not text.strip():
        raise BadRequest(field=field, reason="it is empty")
    if len(text) > max_chars:
        raise TooLarge(field=field, limit=f"{max_chars} characters")
    if "\0" in text:
        raise BadRequest(field=field, reason="it contains a NUL byte")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise BadRequest(field=field, reason="it contains a lone surrogate")
    return text
