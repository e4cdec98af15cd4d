"""Targets of a request: the entities it means, and the words for them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from barnabee.understanding.entity_lookup import find_area, join_names
from barnabee.understanding.home_recognizer import HomeRequest, fold_spelling
from barnabee.understanding.interfaces import Area, Entity, Home

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
# What "everything" switches; heating, locks and covers are named when they are meant.
SWITCHED_DOMAINS = frozenset({"light", "switch", "fan", "media_player", "input_boolean"})
_FOUND_ANYWHERE = frozenset({"climate", "lock", "vacuum", "alarm_control_panel"})
_WINDOW_COVERS = frozenset({"blind", "curtain", "shade", "shutter"})
_SENSOR_CLASSES: Mapping[str, frozenset[str]] = {
    "window": frozenset({"window", "opening"}),
    "door": frozenset({"door", "opening"}),
    "garage": frozenset({"garage_door"}),
    "gate": frozenset({"opening"}),
}
_OPENINGS = frozenset({"window", "door", "opening", "garage_door"})


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


@dataclass(frozen=True, slots=True)
class Targets:
    """Entities that are meant; `place` is how their place is spoken, `is_named` a single device."""

    entities: tuple[Entity, ...]
    place: str = ""
    is_named: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """Several entities have the name that was said."""

    entities: tuple[Entity, ...]


@dataclass(frozen=True, slots=True)
class RoomMissing:
    """The sentence means the room that it was spoken in, which is unknown."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """It cannot be done or answered; `text` is the reason as it is spoken."""

    text: str
    code: str = "no_valid_targets"


Found = Targets | Choice | RoomMissing | Refusal


def find_targets(home: Home, request: HomeRequest, room: str | None) -> Found:
    """Return the entities that `request` means when it is spoken in `room`."""
    slots = request.slots
    if ids := slots.get("entity_ids"):
        known = tuple(home.entities[one] for one in ids if one in home.entities)
        return Targets(known, is_named=len(known) == 1)
    if "name" in slots:
        return _find_named(home, slots, room)
    return _find_kind(home, slots, room)


def _find_kind(home: Home, slots: Mapping[str, Any], room: str | None) -> Found:
    candidates = _list_kind(home, slots)
    if areas := _list_areas(home, slots):
        place = f"in the {' and the '.join(area.names[0].lower() for area in areas)}"
        return _limit(candidates, areas, place, slots)
    if "floor" in slots:
        floors = [one for one, names in home.floors.items() if _has_name(names, slots["floor"])]
        areas = [area for area in home.areas.values() if area.floor_id in floors]
        return _limit(candidates, areas, _place_floor(home, floors, slots["floor"]), slots)
    if "area" in slots:
        return Refusal(f"I don't know a room called {slots['area']}.")
    if slots.get("scope") != "room":
        return _limit(candidates, None, "", slots)
    return _find_in_room(home, candidates, slots, room)


def list_openings(home: Home, device_class: str | None) -> list[Entity]:
    """Return covers and contact sensors of windows and doors; of all kinds with None."""
    classes = _OPENINGS if device_class is None else _SENSOR_CLASSES.get(device_class, frozenset())
    return [
        entity
        for entity in home.entities.values()
        if (entity.domain == "binary_sensor" and _class_of(entity) in classes)
        or (entity.domain == "cover" and (device_class is None or _is_cover(entity, device_class)))
    ]


def _find_named(home: Home, slots: Mapping[str, Any], room: str | None) -> Found:
    named = [entity for entity in home.entities.values() if _has_name(entity.names, slots["name"])]
    named = _prefer(named, lambda entity: entity.domain == slots.get("domain"))
    areas = _list_areas(home, slots)
    if "floor" in slots:
        floors = {one for one, names in home.floors.items() if _has_name(names, slots["floor"])}
        areas = [area for area in home.areas.values() if area.floor_id in floors]
    if areas:
        named = _prefer(named, lambda entity: entity.area_id in {one.area_id for one in areas})
    own = find_area(home, room)
    if len(named) > 1 and own is not None:
        named = _prefer(named, lambda entity: entity.area_id == own.area_id)
    if not named:
        return Refusal(f"I don't know a device called {slots['name']}.")
    return Choice(tuple(named)) if len(named) > 1 else Targets(tuple(named), is_named=True)


def _find_in_room(
    home: Home, candidates: list[Entity], slots: Mapping[str, Any], room: str | None
) -> Found:
    area = find_area(home, room)
    if area is not None:
        inside = [entity for entity in candidates if entity.area_id == area.area_id]
        if inside:
            return Targets(tuple(inside), f"in the {area.names[0].lower()}")
    if len(candidates) == 1:
        return Targets(tuple(candidates), is_named=True)
    if not candidates or area is not None:
        if candidates and slots.get("domain") in _FOUND_ANYWHERE:
            return Choice(tuple(candidates))
        place = f"in the {area.names[0].lower()}" if area is not None else ""
        return _limit([], None, place, slots)
    return Choice(tuple(candidates)) if slots.get("domain") in _FOUND_ANYWHERE else RoomMissing()


def _limit(
    candidates: Sequence[Entity], areas: Sequence[Area] | None, place: str, slots: Mapping[str, Any]
) -> Targets | Refusal:
    ids = None if areas is None else {area.area_id for area in areas}
    found = tuple(entity for entity in candidates if ids is None or entity.area_id in ids)
    if found:
        return Targets(found, place)
    kind = name_kind(slots.get("domain") or "", slots.get("device_class"))
    return Refusal(f"I don't know any {kind} {place}".rstrip() + ".")


def _list_kind(home: Home, slots: Mapping[str, Any]) -> list[Entity]:
    domain, device_class = slots.get("domain"), slots.get("device_class")
    if domain == "everything":
        return [one for one in home.entities.values() if one.domain in SWITCHED_DOMAINS]
    found = [one for one in home.entities.values() if domain is None or one.domain == domain]
    if device_class is None:
        return found
    exact = [one for one in found if _is_cover(one, device_class)]
    if exact or device_class not in _WINDOW_COVERS:
        return exact
    return [one for one in found if _class_of(one) in _WINDOW_COVERS]


def _is_cover(entity: Entity, device_class: str) -> bool:
    if (own := _class_of(entity)) is not None:
        return own == device_class or (own, device_class) == ("garage", "door")
    return any(device_class in fold_spelling(name) for name in entity.names)


def _class_of(entity: Entity) -> str | None:
    device_class = entity.attributes.get("device_class")
    return device_class if isinstance(device_class, str) else None


def _list_areas(home: Home, slots: Mapping[str, Any]) -> list[Area]:
    wanted = {slots[key] for key in ("area", "area2") if key in slots}
    return [
        area for area in home.areas.values() if any(_has_name(area.names, name) for name in wanted)
    ]


def _place_floor(home: Home, floors: Iterable[str], said: str) -> str:
    if said in {"upstairs", "downstairs"}:
        return said
    names = [home.floors[floor][0].lower() for floor in floors]
    return f"on the {names[0]}" if names else ""


def _has_name(names: Iterable[str], folded: str) -> bool:
    return folded in map(fold_spelling, names)


def _prefer(entities: list[Entity], is_better: Any) -> list[Entity]:
    return [entity for entity in entities if is_better(entity)] or entities
