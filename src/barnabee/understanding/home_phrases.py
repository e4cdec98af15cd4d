"""Words for things of the home in spoken replies."""

from __future__ import annotations

import re
from collections.abc import Sequence

from barnabee.understanding.entity_lookup import join_names
from barnabee.understanding.interfaces import Entity, Home

_POSSESSIVE = re.compile(r"^(?:\w+['\u2019]s?|the|my|our) ", re.IGNORECASE)
_MAX_LISTED = 4
_NOUNS = {
    "light": ("light", "lights"),
    "switch": ("switch", "switches"),
    "fan": ("fan", "fans"),
    "lock": ("lock", "locks"),
    "cover": ("cover", "covers"),
    "climate": ("thermostat", "thermostats"),
    "vacuum": ("vacuum cleaner", "vacuum cleaners"),
    "media_player": ("player", "players"),
    "person": ("person", "people"),
    "alarm_control_panel": ("alarm system", "alarm systems"),
}
_COUNTABLE = frozenset(
    {"blind", "curtain", "shutter", "shade", "light", "lamp", "spot", "door", "window", "lock"}
    | {"fan", "heater", "radiator", "speaker", "plug", "socket", "switch", "strip"}
)
_COUNTS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def name_entity(entity: Entity) -> str:
    """Return "the kitchen light", "Dad's reading lamp" or "Mum"."""
    name = entity.name
    if entity.domain in {"person", "scene", "script"} or _POSSESSIVE.match(name):
        return name
    if name[-1].isdigit():
        return name
    is_plain = name[1:].islower() and not any(letter.isdigit() for letter in name)
    return f"the {name[0].lower()}{name[1:]}" if is_plain else f"the {name}"


def name_entities(entities: Sequence[Entity], home: Home | None = None) -> str:
    """Return the names joined; entities of one name are distinguished by their rooms."""
    names = [entity.name for entity in entities]
    spoken = [
        name_with_room(entity, home)
        if home is not None and names.count(entity.name) > 1
        else name_entity(entity)
        for entity in entities
    ]
    return join_names(spoken)


def name_with_room(entity: Entity, home: Home) -> str:
    area = home.areas.get(entity.area_id or "")
    return f"{name_entity(entity)} in the {area.names[0].lower()}" if area else name_entity(entity)


def is_plural(entity: Entity) -> bool:
    """Return whether the name is of several: "bedroom blinds"."""
    last = entity.name.lower().split()[-1]
    return last.endswith("s") and last[:-1] in _COUNTABLE


def choose_verb(entities: Sequence[Entity]) -> str:
    return "is" if len(entities) == 1 and not is_plural(entities[0]) else "are"


def is_short(entities: Sequence[Entity]) -> bool:
    """Return whether the names of all are spoken."""
    return len(entities) <= _MAX_LISTED


def name_kind(domain: str, device_class: str | None = None, count: int = 2) -> str:
    """Return the noun of a kind of entity: "lights", "blind"."""
    if device_class:
        word = "garage door" if device_class == "garage" else device_class.replace("_", " ")
        return word if count == 1 else f"{word}s"
    one, many = _NOUNS.get(domain, ("device", "devices"))
    return one if count == 1 else many


def count_things(count: int, domain: str, device_class: str | None = None) -> str:
    """Return "three lights"."""
    number = _COUNTS[count] if count < len(_COUNTS) else str(count)
    return f"{number} {name_kind(domain, device_class, count)}"


def say_number(value: float) -> str:
    """Return a number without needless decimals."""
    return f"{round(float(value), 1):g}"


def make_sentence(text: str) -> str:
    """Return `text` with a capital letter and a full stop."""
    text = text.strip()
    end = "" if text.endswith((".", "?", "!")) else "."
    return f"{text[:1].upper()}{text[1:]}{end}"
