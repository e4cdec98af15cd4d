"""Answers to questions about the home, from its states. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from barnabee.understanding.entity_lookup import find_area, join_names
from barnabee.understanding.home_recognizer import HomeRequest, fold_spelling
from barnabee.understanding.home_targets import (
    Choice,
    Found,
    Refusal,
    RoomMissing,
    Targets,
    choose_verb,
    count_things,
    find_targets,
    is_plural,
    is_short,
    list_openings,
    make_sentence,
    name_entities,
    name_entity,
    name_kind,
    say_number,
)
from barnabee.understanding.interfaces import Entity, Home
from barnabee.understanding.words import fold_name

QUESTIONS = frozenset({"HassGetState", "HassClimateGetTemperature", "HumidityQuery"})
_OUTSIDE = frozenset({"outside", "outdoor", "outdoors", "garden", "terrace", "balcony"})
_MAX_ROOMS = 3
_CONTACT_STATES = {"open": "on", "closed": "off"}
_STATE_WORDS = {"not_home": "away", "home": "at home", "playing": "playing", "heat": "heating"}
_ON_WHILE = frozenset({"media_player", "climate", "vacuum", "humidifier"})
_OFF_STATES = frozenset({"off", "standby", "docked", "idle", "unavailable", "unknown"})


def asks_unknown_place(home: Home, request: HomeRequest) -> bool:
    """Return whether a person's "state" is none, as in "who is allergic to nuts"."""
    state = request.slots.get("state")
    if request.slots.get("domain") != "person" or state is None or "name" in request.slots:
        return False
    people = (entity.state for entity in home.entities.values() if entity.domain == "person")
    return fold_name(str(state)) not in {"home", "not home", "away", "out", *map(fold_name, people)}


def answer_question(
    home: Home, request: HomeRequest, room: str | None
) -> tuple[str, tuple[Entity, ...]] | Choice | RoomMissing | Refusal:
    """Return the spoken answer and the entities that it is about."""
    if request.intent == "HassClimateGetTemperature":
        return _answer_reading(home, request, room, "temperature", "degrees")
    if request.intent == "HumidityQuery":
        return _answer_reading(home, request, room, "humidity", "percent")
    found = _find_subjects(home, request, room)
    if not isinstance(found, Targets):
        return found
    state = request.slots.get("state")
    if found.is_named and "name" in request.slots:
        entity = found.entities[0]
        text = describe_state(entity) if state is None else _confirm_state(entity, str(state))
        return make_sentence(text), found.entities
    return _answer_group(home, request, found, str(state))


def describe_state(entity: Entity) -> str:
    """Return what an entity is doing now: "the kitchen light is on at 40 percent"."""
    verb = "are" if is_plural(entity) else "is"
    return f"{name_entity(entity)} {verb} {_describe(entity)}"


def _describe(entity: Entity) -> str:
    attributes = entity.attributes
    if not entity.is_available:
        return "not available"
    if entity.domain == "sensor":
        return _say_reading(entity.state, attributes.get("unit_of_measurement"))
    if entity.domain == "climate":
        target, current = attributes.get("temperature"), attributes.get("current_temperature")
        is_set = "off" if entity.state == "off" else f"set to {_say_degrees(target)}"
        return is_set + (f", and it is {_say_degrees(current)} now" if current is not None else "")
    return say_state(entity) + _describe_level(entity)


def _describe_level(entity: Entity) -> str:
    attributes = entity.attributes
    brightness, position = attributes.get("brightness"), attributes.get("current_position")
    if entity.domain == "light" and entity.state == "on" and isinstance(brightness, int | float):
        return f" at {round(brightness * 100 / 255)} percent"
    if entity.domain == "cover" and entity.state == "open" and position not in {None, 100}:
        return f" at {position} percent"
    title = attributes.get("media_title")
    is_playing = entity.domain == "media_player" and entity.state == "playing"
    return f" {title}" if is_playing and title else ""


def say_state(entity: Entity) -> str:
    """Return the state as a word: "open", "at home", "locked"."""
    if entity.domain == "binary_sensor":
        is_contact = entity.attributes.get("device_class") in {
            *("door", "window", "opening", "garage_door"),
        }
        words = {"on": "open", "off": "closed"} if is_contact else {}
        return words.get(entity.state, entity.state)
    if not entity.is_available:
        return "not available"
    return _STATE_WORDS.get(entity.state, entity.state.replace("_", " "))


def has_state(entity: Entity, wanted: str) -> bool:
    """Return whether the entity is in the state that was asked for."""
    if entity.domain == "binary_sensor":
        return entity.state == _CONTACT_STATES.get(wanted, wanted)
    if wanted == "active" or (wanted == "on" and entity.domain in _ON_WHILE):
        return entity.state not in _OFF_STATES
    if wanted == "off" and entity.domain in _ON_WHILE:
        return entity.is_available and entity.state in _OFF_STATES
    if entity.domain == "person" and wanted in {"away", "not home", "out"}:
        return entity.is_available and entity.state != "home"
    return entity.state == wanted


def _find_subjects(home: Home, request: HomeRequest, room: str | None) -> Found:
    slots = request.slots
    is_opening = slots.get("domain") == "opening" or (
        "name" not in slots and "device_class" in slots and slots.get("domain") in {None, "cover"}
    )
    if not is_opening:
        return find_targets(home, request, room)
    openings = list_openings(home, slots.get("device_class"))
    if {"area", "floor"} & slots.keys():
        inside = find_targets(home, HomeRequest("", _only_place(slots)), room)
        if isinstance(inside, Targets):
            openings = [one for one in openings if one in inside.entities]
    if not openings:
        return Refusal(f"I don't know any {name_kind('cover', slots.get('device_class'))}.")
    return Targets(tuple(openings))


def _only_place(slots: Mapping[str, Any]) -> dict[str, Any]:
    return {key: slots[key] for key in ("area", "floor") if key in slots}


def _confirm_state(entity: Entity, wanted: str) -> str:
    if not entity.is_available:
        return f"I can't tell, {describe_state(entity)}"
    answer = "yes" if has_state(entity, wanted) else "no"
    return f"{answer}, {describe_state(entity)}"


def _answer_group(
    home: Home, request: HomeRequest, found: Targets, state: str
) -> tuple[str, tuple[Entity, ...]]:
    slots = request.slots
    domain, device_class = slots.get("domain") or "", slots.get("device_class")
    matching = tuple(one for one in found.entities if has_state(one, state))
    word = {"home": "at home", "active": "running"}.get(state, state)
    place = f" {found.place}" if found.place else ""
    kind = name_kind(domain, device_class)
    if request.question == "how_many":
        verb = "is" if len(matching) == 1 else "are"
        text = f"{count_things(len(matching), domain, device_class)}{place} {verb} {word}"
    elif request.question == "all" or (request.question == "one" and domain != "everything"):
        others = [one for one in found.entities if one.is_available and one not in matching]
        if not others:
            text = f"yes, all {kind}{place} are {word}"
        else:
            text = f"no, {_say_which(home, others)} {_say_opposite(others)}"
    elif not matching:
        nothing = domain in {"everything", "opening", "person"}
        subject = "nobody" if domain == "person" else "nothing" if nothing else f"no {kind}"
        text = f"{subject}{place} {'is' if nothing else 'are'} {word}"
    else:
        text = f"{_say_which(home, matching)} {choose_verb(matching)} {word}"
    return make_sentence(text), matching


def _say_which(home: Home, entities: Sequence[Entity]) -> str:
    if is_short(entities):
        return name_entities(entities, home)
    return join_names([*(name_entity(one) for one in entities[:3]), f"{len(entities) - 3} more"])


def _say_opposite(entities: Sequence[Entity]) -> str:
    states = {say_state(entity) for entity in entities}
    return f"{choose_verb(entities)} {join_names(sorted(states), 'or')}"


# ---- readings -----------------------------------------------------------------------------------


def _answer_reading(
    home: Home, request: HomeRequest, room: str | None, quantity: str, unit: str
) -> tuple[str, tuple[Entity, ...]] | Choice | Refusal:
    slots = request.slots
    if slots.get("place") == "outside" or slots.get("area") in _OUTSIDE:
        readings = _list_outside(home, quantity)
        place = "outside"
    elif "name" in slots:
        found = find_targets(home, request, room)
        if not isinstance(found, Targets):
            return found if isinstance(found, Choice | Refusal) else Refusal("")
        readings, place = _read_entities(found.entities, quantity), ""
    else:
        readings, place = _list_inside(home, slots, room, quantity)
    if not readings:
        where = f" {place}" if place else ""
        return Refusal(f"I don't know the {quantity}{where}.")
    entities = tuple(entity for entity, _ in readings)
    if len(readings) == 1 or place:
        where = f" {place}" if place else ""
        return f"It is {say_number(readings[0][1])} {unit}{where}.", entities[:1]
    parts = [f"{say_number(value)} {unit} {_say_place(home, one)}" for one, value in readings]
    return make_sentence(f"it is {join_names(parts[:_MAX_ROOMS])}"), entities


def _list_outside(home: Home, quantity: str) -> list[tuple[Entity, float]]:
    outside = [one for one in home.entities.values() if _is_outside(home, one)]
    weather = [one for one in home.entities.values() if one.domain == "weather"]
    return _read_entities(outside, quantity) or _read_entities(weather, quantity)


def _list_inside(
    home: Home, slots: Mapping[str, Any], room: str | None, quantity: str
) -> tuple[list[tuple[Entity, float]], str]:
    """Return the readings and the place that they are of; "" when they are of several rooms."""
    inside = [
        one
        for one in home.entities.values()
        if one.domain in {"sensor", "climate"} and not _is_outside(home, one)
    ]
    area = find_area(home, slots.get("area") or room)
    if area is not None:
        in_area = _read_entities((one for one in inside if one.area_id == area.area_id), quantity)
        if in_area or "area" in slots:
            return in_area, f"in the {area.names[0].lower()}"
    rooms: dict[str | None, tuple[Entity, float]] = {}
    for entity, value in _read_entities(inside, quantity):
        rooms.setdefault(entity.area_id, (entity, value))
    return list(rooms.values()), ""


def _read_entities(entities: Iterable[Entity], quantity: str) -> list[tuple[Entity, float]]:
    """Return the readings of `quantity`; sensors before thermostats."""
    found = list[tuple[Entity, float]]()
    for entity in sorted(entities, key=lambda one: one.domain != "sensor"):
        if entity.domain == "sensor":
            value: object = (
                entity.state if entity.attributes.get("device_class") == quantity else None
            )
        else:
            key = quantity if entity.domain == "weather" else f"current_{quantity}"
            value = entity.attributes.get(key)
        number = _parse_float(value)
        if number is not None:
            found.append((entity, number))
    return found


def _is_outside(home: Home, entity: Entity) -> bool:
    area = home.areas.get(entity.area_id or "")
    names = (*entity.names, *(area.names if area else ()))
    return any(_OUTSIDE & set(fold_spelling(name).split()) for name in names)


def _say_place(home: Home, entity: Entity) -> str:
    area = home.areas.get(entity.area_id or "")
    return f"in the {area.names[0].lower()}" if area else f"at {name_entity(entity)}"


def _say_reading(state: str, unit: object) -> str:
    number = _parse_float(state)
    value = state if number is None else say_number(number)
    words: Mapping[object, str] = {"°C": " degrees", "°F": " degrees", "%": " percent", None: ""}
    return f"{value}{words.get(unit, f' {unit}')}"


def _say_degrees(value: object) -> str:
    number = _parse_float(value)
    return "no temperature" if number is None else f"{say_number(number)} degrees"


def _parse_float(value: object) -> float | None:
    if not isinstance(value, str | int | float):
        return None
    try:
        return float(value)
    except ValueError:
        return None
