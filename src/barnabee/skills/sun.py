"""Sunrise and sunset, from Home Assistant's sun."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from barnabee.understanding.entity_lookup import NOT_CONNECTED
from barnabee.understanding.skill import (
    Skill,
    SkillCall,
    SkillContext,
    SkillIntent,
    SkillReply,
)
from barnabee.understanding.spoken_forms import say_moment

_SUN = "sun.sun"
_NO_SUN = (
    "I don't know when the sun rises or sets: Home Assistant shows me no sun. Expose its sun to "
    "Assist."
)


async def handle(call: SkillCall, context: SkillContext) -> SkillReply | None:
    """Tell the next sunrise or sunset."""
    if context.home is None:
        return NOT_CONNECTED
    is_rise = call.intent == "sunrise"
    sun = (await context.home.read_home()).entities.get(_SUN)
    moment = _parse_moment(
        sun.attributes.get("next_rising" if is_rise else "next_setting") if sun else None
    )
    if moment is None:
        return SkillReply(_NO_SUN, code="not_found")
    verb = "rises" if is_rise else "sets"
    return SkillReply(f"The sun {verb} {say_moment(moment, context.now)}.")


def _parse_moment(value: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return value if isinstance(value, datetime) else None


SKILL = Skill(
    "sun",
    (
        SkillIntent(
            "sunrise",
            "tell you when the sun rises",
            (
                "(when|what time) is [the] [next] sunrise [(today|tomorrow)]",
                (
                    "(when|what time|at what time) (does|will) the sun (rise|come "
                    "up|go up) [(today|tomorrow)]"
                ),
                "(when|what time) (does|will) it (get|become|be) (light|bright) [outside]",
            ),
        ),
        SkillIntent(
            "sunset",
            "tell you when the sun sets",
            (
                "(when|what time) is [the] [next] sunset [(today|tonight|tomorrow)]",
                (
                    "(when|what time|at what time) (does|will) the sun (set|go down) "
                    "[(today|tonight|tomorrow)]"
                ),
                "(when|what time) (does|will) it (get|become|be) dark [outside] [(today|tonight)]",
            ),
        ),
    ),
    handle,
)
