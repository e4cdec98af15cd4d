"""Undoing: the service calls that restore the states that entities had before. Pure.

A call is JSON, because it is stored with the session: `service`, `entity_ids` and `data`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from barnabee.understanding.home_plan import Expectation, Plan, Step, is_guarded
from barnabee.understanding.interfaces import Entity, Home

_LIGHT_COLORS = {
    "color_temp": ("color_temp_kelvin",),
    "hs": ("hs_color",),
    "xy": ("xy_color",),
    "rgb": ("rgb_color",),
    "rgbw": ("rgbw_color",),
    "rgbww": ("rgbww_color",),
}
_BACK = {
    "open": "cover.open_cover",
    "closed": "cover.close_cover",
    "locked": "lock.lock",
    "unlocked": "lock.unlock",
    "armed_away": "alarm_control_panel.alarm_arm_away",
    "disarmed": "alarm_control_panel.alarm_disarm",
}
_RESULTS = {
    "turn_on": "on",
    "turn_off": "off",
    "open_cover": "open",
    "close_cover": "closed",
    "lock": "locked",
    "unlock": "unlocked",
}
_STATEFUL = frozenset(
    {"light", "switch", "fan", "media_player", "input_boolean", "climate", "cover", "lock"}
    | {"vacuum", "humidifier", "alarm_control_panel"}
)


def list_undo(home: Home, steps: Iterable[Step]) -> tuple[Mapping[str, Any], ...]:
    """Return the calls that undo `steps`; `home` is as it was before them."""
    calls = list[Mapping[str, Any]]()
    for step in steps:
        for entity in _list_changed(home, home.entities[step.entity_id]):
            calls += (
                {"service": service, "entity_ids": [entity.entity_id], "data": data}
                for service, data in _restore(entity)
            )
    return tuple(calls)


def make_undo_plan(home: Home, calls: Sequence[Mapping[str, Any]]) -> Plan:
    """Return the plan that carries out stored calls."""
    steps = tuple(
        Step(
            str(entity_id),
            str(call["service"]),
            _expect(str(call["service"])),
            dict(call.get("data") or {}),
            _RESULTS.get(str(call["service"]).partition(".")[2], "as before"),
        )
        for call in calls
        for entity_id in call["entity_ids"]
        if entity_id in home.entities
    )
    guarded = any(is_guarded(home.entities[step.entity_id]) for step in steps)
    return Plan(steps, is_guarded=guarded)


def _list_changed(home: Home, entity: Entity) -> list[Entity]:
    """Return the entities that a step at `entity` changes: those of a scene, or itself."""
    if entity.domain == "scene":
        ids = entity.attributes.get("entity_id")
        found = [home.entities[one] for one in ids if one in home.entities] if ids else []
    else:
        found = [entity]
    return [one for one in found if one.domain in _STATEFUL and one.is_available]


def _restore(entity: Entity) -> Iterator[tuple[str, dict[str, Any]]]:
    domain, state, attributes = entity.domain, entity.state, entity.attributes
    position = attributes.get("current_position")
    if domain == "light" and state == "on":
        yield "light.turn_on", _restore_light(attributes)
    elif domain == "cover" and position not in {None, 0, 100}:
        yield "cover.set_cover_position", {"position": position}
    elif domain in {"cover", "lock", "alarm_control_panel"}:
        if state in _BACK:
            yield _BACK[state], {}
    elif domain == "climate" and state != "off":
        yield "climate.set_hvac_mode", {"hvac_mode": state}
        if attributes.get("temperature") is not None:
            yield "climate.set_temperature", {"temperature": attributes["temperature"]}
    elif domain == "vacuum":
        yield f"vacuum.{'start' if state == 'cleaning' else 'return_to_base'}", {}
    elif domain == "fan" and state == "on" and attributes.get("percentage"):
        yield "fan.set_percentage", {"percentage": attributes["percentage"]}
    else:
        yield f"{domain}.turn_{'off' if state in {'off', 'standby'} else 'on'}", {}


def _restore_light(attributes: Mapping[str, Any]) -> dict[str, Any]:
    keys = ("brightness", *_LIGHT_COLORS.get(str(attributes.get("color_mode")), ()))
    return {key: attributes[key] for key in keys if attributes.get(key) is not None}


def _expect(service: str) -> Expectation:
    domain, _, action = service.partition(".")
    if action == "turn_on" and domain not in {"media_player", "climate"}:
        return Expectation(frozenset({"on"}))
    moving = {"open": "opening", "closed": "closing", "locked": "locking", "unlocked": "unlocking"}
    state = _RESULTS.get(action)
    if state is None or action == "turn_on":
        return Expectation(excluded=frozenset({"unavailable"}))
    off = frozenset({"standby"}) if state == "off" else frozenset()
    return Expectation(frozenset({state, moving.get(state, state)}) | off)
