"""What several routes ask of their input."""

from __future__ import annotations

from typing import Any

from barnabee.core.errors import BadRequest, NotFound, TooLarge
from barnabee.gpu.slots import Slot


def require_model(slot: Slot[Any], model: str) -> None:
    """Raise NotFound unless `model` names the engine of this slot."""
    if model != slot.model and model not in slot.aliases:
        raise NotFound(what=f"model {model!r} for this; there is {slot.model!r}")


def require_text(text: str, *, field: str, max_chars: int) -> str:
    """Return `text`; BadRequest when it is empty or not text, TooLarge when too long."""
    if not text.strip():
        raise BadRequest(field=field, reason="it is empty")
    if len(text) > max_chars:
        raise TooLarge(field=field, limit=f"{max_chars} characters")
    if "\0" in text:
        raise BadRequest(field=field, reason="it holds a NUL byte")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise BadRequest(field=field, reason="it holds half a character (a lone surrogate)")
    return text
