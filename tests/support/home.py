"""Fake home: entities that services change, recorded calls and scripted responses."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from barnabee.core.errors import BarnabeeError, HomeRefused
from barnabee.understanding.interfaces import Area, Entity, Home, HomeAnswer
from barnabee.up.demo_home.config import read_home_file

NO_MATCH = HomeAnswer("error", "Sorry, I couldn't understand that", "no_intent_match")
_STATES = {
    "turn_on": "on",
    "turn_off": "off",
    "open_cover": "open",
    "close_cover": "closed",
    "lock": "locked",
    "unlock": "unlocked",
    "start": "cleaning",
    "return_to_base": "returning",
    "media_play": "playing",
    "media_pause": "paused",
    "media_stop": "idle",
    "select_source": "playing",
}
_ON = {"climate": "heat", "media_player": "playing", "vacuum": "cleaning"}
_HIDDEN_WHEN_OFF = ("brightness", "hs_color", "rgb_color", "color_name", "color_temp_kelvin")


@dataclass(frozen=True, slots=True)
class ServiceCall:
    """One call of a service, as it arrived."""

    service: str
    entity_ids: tuple[str, ...]
    data: Mapping[str, Any]


Response = Callable[[ServiceCall], Mapping[str, Any]]


@dataclass
class FakeHome:
    """A `HomeControl`; its public fields may change between commands.

    `responses` answer a service that has a response, `refusals` are the reasons by entity id or
    service, `stuck` are entities that accept commands and do not change, `error` fails everything.
    A script or scene sets the states in `effects`.
    """

    entities: dict[str, Entity] = field(default_factory=dict)
    areas: dict[str, Area] = field(default_factory=dict)
    floors: dict[str, tuple[str, ...]] = field(default_factory=dict)
    time_zone: str | None = "Europe/Amsterdam"
    is_metric: bool = True
    device_areas: dict[str, str] = field(default_factory=dict)
    answer: HomeAnswer | Callable[[str], HomeAnswer] = NO_MATCH
    responses: dict[str, Mapping[str, Any] | Response] = field(default_factory=dict)
    refusals: dict[str, str] = field(default_factory=dict)
    stuck: set[str] = field(default_factory=set)
    effects: dict[str, dict[str, str]] = field(default_factory=dict)
    items: dict[str, dict[str, str]] = field(default_factory=dict)  # list -> item -> status
    error: BarnabeeError | None = None
    calls: list[ServiceCall] = field(default_factory=list)
    sentences: list[str] = field(default_factory=list)
    rooms: list[str | None] = field(default_factory=list)

    def add(
        self, entity_id: str, name: str, state: str = "off", /, area: str | None = None, **more: Any
    ) -> None:
        """Add an entity and its area; `aliases` are further names, the rest are attributes."""
        names = (name, *more.pop("aliases", ()))
        if area is not None and area not in self.areas:
            self.areas[area] = Area(area, (area.replace("_", " ").capitalize(),))
        if entity_id.startswith("todo."):
            self.items.setdefault(entity_id, {})
        self.entities[entity_id] = Entity(entity_id, names, area, state, more)

    def state(self, entity_id: str) -> str:
        return self.entities[entity_id].state

    def called(self, service: str) -> list[ServiceCall]:
        return [call for call in self.calls if call.service == service]

    async def converse(
        self,
        text: str,
        *,
        conversation_id: str | None = None,
        language: str = "en",
        room: str | None = None,
        only: Collection[str] | None = None,
    ) -> HomeAnswer:
        if self.error is not None:
            raise self.error
        self.sentences.append(text)
        self.rooms.append(room)
        return self.answer(text) if callable(self.answer) else self.answer

    async def read_home(self) -> Home:
        if self.error is not None:
            raise self.error
        return Home(
            entities=dict(self.entities),
            areas=dict(self.areas),
            floors=dict(self.floors),
            time_zone=self.time_zone,
            is_metric=self.is_metric,
            device_areas=dict(self.device_areas),
        )

    async def call_service(
        self,
        service: str,
        entity_ids: Collection[str] = (),
        data: Mapping[str, Any] | None = None,
        *,
        has_response: bool = False,
    ) -> Mapping[str, Any]:
        if self.error is not None:
            raise self.error
        call = ServiceCall(service, tuple(entity_ids), dict(data or {}))
        self.calls.append(call)
        for refused in (service, *call.entity_ids):
            if refused in self.refusals:
                raise HomeRefused(service=service, reason=self.refusals[refused])
        if service == "climate.set_temperature":
            self._check_temperature(call)
        if service.startswith("todo."):
            return self._change_list(call)
        for entity_id in call.entity_ids:
            if entity_id in self.entities:
                self._apply(call, self.entities[entity_id])
        response = self.responses.get(service, {}) if has_response else {}
        return response(call) if callable(response) else response

    def _apply(self, call: ServiceCall, entity: Entity) -> None:
        for changed, state in self.effects.get(entity.entity_id, {}).items():
            self.entities[changed] = replace(self.entities[changed], state=state)
        if entity.entity_id in self.stuck or not entity.is_available:
            return
        if entity.domain in {"scene", "script", "button"}:
            return
        action = call.service.partition(".")[2]
        if action == "toggle":
            action = "turn_off" if entity.state in {"on", "playing", "open"} else "turn_on"
        state = _find_state(action, call.data, entity)
        attributes = {**entity.attributes, **_read_attributes(action, call.data)}
        if entity.domain == "light" and state == "off":
            attributes = {k: v for k, v in attributes.items() if k not in _HIDDEN_WHEN_OFF}
        elif entity.domain == "light" and attributes.get("supported_color_modes") != ["onoff"]:
            attributes.setdefault("brightness", 255)
        elif entity.domain == "cover" and action != "set_cover_position":
            attributes["current_position"] = 0 if state == "closed" else 100
        self.entities[entity.entity_id] = replace(entity, state=state, attributes=attributes)

    def _check_temperature(self, call: ServiceCall) -> None:
        for entity_id in call.entity_ids:
            limits = self.entities[entity_id].attributes
            lowest, highest = limits.get("min_temp", 5), limits.get("max_temp", 30)
            if not lowest <= call.data.get("temperature", lowest) <= highest:
                reason = f"Accepted range is {lowest} to {highest}"
                raise HomeRefused(service=call.service, reason=reason)

    def _change_list(self, call: ServiceCall) -> Mapping[str, Any]:
        (entity_id,) = call.entity_ids
        items, data = self.items[entity_id], call.data
        if call.service == "todo.get_items":
            wanted = data.get("status", ["needs_action"])
            found = [
                {"summary": item, "uid": item, "status": status}
                for item, status in items.items()
                if status in wanted
            ]
            return {entity_id: {"items": found}}
        if call.service == "todo.add_item":
            items[data["item"]] = "needs_action"
            return {}
        named = data["item"] if isinstance(data["item"], list) else [data["item"]]
        for item in named:
            if item not in items:
                raise HomeRefused(service=call.service, reason=f"Unable to find {item}")
            if call.service == "todo.remove_item":
                del items[item]
            else:
                items[item] = data["status"]
        return {}


def _find_state(action: str, data: Mapping[str, Any], entity: Entity) -> str:
    if action == "turn_on" and entity.domain in _ON:
        return _ON[entity.domain]
    if action == "set_cover_position":
        return "open" if data["position"] else "closed"
    if action == "set_hvac_mode":
        return str(data["hvac_mode"])
    if action == "set_percentage":
        return "on" if data["percentage"] else "off"
    return _STATES.get(action, entity.state)


def _read_attributes(action: str, data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes that a command with `data` sets."""
    kept = {"hs_color", "rgb_color", "color_name", "color_temp_kelvin", "temperature", "percentage"}
    attributes = {name: value for name, value in data.items() if name in kept}
    if "brightness_pct" in data:
        attributes["brightness"] = round(data["brightness_pct"] * 2.55)
    if "brightness" in data:
        attributes["brightness"] = data["brightness"]
    if action == "set_cover_position":
        attributes["current_position"] = data["position"]
    if action == "volume_set":
        attributes["volume_level"] = data["volume_level"]
    if action == "volume_mute":
        attributes["is_volume_muted"] = data["is_volume_muted"]
    if action == "select_source":
        attributes["source"] = data["source"]
    return attributes


def make_demo_home() -> FakeHome:
    """Return the home of home.toml as Home Assistant shows it, without its conversation agent."""
    described = tomllib.loads(read_home_file())
    home = FakeHome()
    for floor_id, floor in described["floor"].items():
        home.floors[floor_id] = (floor["name"], *floor.get("aliases", ()))
    for area_id, room in described["room"].items():
        names = (room["name"], *room.get("aliases", ()))
        home.areas[area_id] = Area(area_id, names, room["floor"])
    for entity_id, device in described["device"].items():
        state, attributes = _describe_state(entity_id.partition(".")[0], device)
        names = (device["name"], *device.get("aliases", ()))
        home.entities[entity_id] = Entity(
            entity_id, names, device.get("room"), state, {**attributes, "friendly_name": names[0]}
        )
    home.add("scene.movie_night", "Movie night", "unknown")
    home.add("scene.good_night", "Good night", "unknown")
    home.add("script.leave_home", "Leave home", "off")
    home.add("script.clean_up", "Clean up", "off")
    home.add("person.mum", "Mum", "home")
    home.add("person.dad", "Dad", "not_home")
    home.add("todo.shopping_list", "Shopping List", "0")
    home.add(
        "sensor.outside_temperature",
        "Outside temperature",
        "12.5",
        device_class="temperature",
        unit_of_measurement="°C",
    )
    return home


def _describe_state(domain: str, device: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the state and the attributes of a device of home.toml."""
    values = device.get("values", {})
    state, attributes = _describe_values(domain, device, values)
    if "device_class" in device:
        attributes["device_class"] = device["device_class"]
    if not device.get("available", True):
        state = "unavailable"
    return state, attributes


def _describe_values(
    domain: str, device: Mapping[str, Any], values: Mapping[str, Any]
) -> tuple[str, dict[str, Any]]:
    read: dict[str, Any]
    units: dict[str, Any]
    match domain:
        case "light":
            described = "off", {"supported_color_modes": [device.get("mode", "onoff")]}
        case "cover":
            position = values.get("position", 100)
            attributes = {"current_position": position, "supported_features": 7}
            described = "open" if position else "closed", attributes
        case "lock":
            described = "locked" if values["locked"] else "unlocked", {}
        case "climate":
            read = {"temperature": values["target"], "current_temperature": values["current"]}
            described = values["mode"], {**read, "hvac_modes": ["heat", "off"]}
        case "media_player":
            read = {"volume_level": values["volume"], "source": values["source"]}
            described = values["state"], {**read, "source_list": device["sources"]}
        case "sensor":
            described = str(values["value"]), {"unit_of_measurement": device["unit"]}
        case "fan":
            read = {"percentage": 0, "percentage_step": 1.0, "supported_features": 49}
            described = "off", read
        case "weather":
            read = {"temperature": values["temperature"], "humidity": values["humidity"]}
            units = {"temperature_unit": "°C", "wind_speed_unit": "km/h"}
            described = values["condition"], {**read, **units, "wind_speed": values["wind"]}
        case _:
            described = {"vacuum": "docked"}.get(domain, "off"), {}
    return described
