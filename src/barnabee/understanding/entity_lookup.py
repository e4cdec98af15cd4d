"""Finding the entity that a skill needs: by its name, in the room, or the only one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from barnabee.understanding.failures import get_failure_phrase
from barnabee.understanding.interfaces import Area, Entity, Home
from barnabee.understanding.names import fold_name
from barnabee.understanding.skill import SkillReply

NOT_CONNECTED = SkillReply(
    get_failure_phrase("home_assistant", "not_configured"),
    code="not_configured",
    degraded=("home_assistant",),
)


def list_entities(home: Home, domain: str) -> list[Entity]:
    """Return the entities of a domain, by name."""
    found = (entity for entity in home.entities.values() if entity.domain == domain)
    return sorted(found, key=lambda entity: entity.name)


def find_by_name(
    entities: Iterable[Entity], name: str, fold: Callable[[str], str] = fold_name
) -> list[Entity]:
    """Return the entities that have this name or alias."""
    wanted = fold(name)
    return [entity for entity in entities if wanted in map(fold, entity.names)]


def find_area(home: Home, room: str | None) -> Area | None:
    """Return the area of the room in which the command was spoken."""
    if room is None:
        return None
    wanted = fold_name(room.replace("_", " ").replace("-", " "))
    named = (
        area
        for area in home.areas.values()
        if wanted in {*map(fold_name, area.names), fold_name(area.area_id.replace("_", " "))}
    )
    return next(named, None)


def join_names(names: Sequence[str], conjunction: str = "and") -> str:
    """Return names as they are spoken: "milk, eggs and bread"."""
    if len(names) < 2:  # noqa: PLR2004 - one name needs no conjunction
        return "".join(names)
    return f"{', '.join(names[:-1])} {conjunction} {names[-1]}"


def capitalize(text: str) -> str:
    """Return `text` with a capital letter in front; the rest stays as it is."""
    return text[:1].upper() + text[1:]
