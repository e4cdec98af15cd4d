"""What a room may be called. Pure."""

from __future__ import annotations

import re

from barnabee.core.errors import BadRequest

DEFAULT = "home"  # of a client that does not say where it is
PATTERN = r"^[a-z][a-z0-9_-]{0,31}$"
_SHAPE = re.compile(PATTERN)


def room_name(given: str | None) -> str:
    """Return the room's name; BadRequest when it cannot be one."""
    if not given:
        return DEFAULT
    if not _SHAPE.match(given) or given.endswith("\n"):
        reason = "a room is called by up to 32 of a-z, 0-9, _ and -, a letter first"
        raise BadRequest(field="parameter `room`", reason=reason)
    return given
