"""Plans: the service calls that a request needs, and the states expected after them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from barnabee.understanding.home_recognizer import HomeRequest
from barnabee.understanding.home_targets import Targets, say_number
from barnabee.understanding.interfaces import Entity, Home

_ON_SERVICES = {
    "cover": "cover.open_cover",
    "valve": "valve.open_valve",
    "lock": "lock.lock",
    "vacuum": "vacuum.start",
    "lawn_mower": "lawn_mower.start_mowing",
    "button": "button.press",
    "input_button": "input_button.press",
}
_OFF_SERVICES = {
    "cover": "cover.close_cover",
    "valve": "valve.close_valve",
    "lock": "lock.unlock",
    "vacuum": "vacuum.return_to_base",
    "lawn_mower": "lawn_mower.dock",
}
_ON_STATES = {
    "cover": frozenset({"open", "opening"}),
    "valve": frozenset({"open", "opening"}),
    "lock": frozenset({"locked", "locking"}),
    "vacuum": frozenset({"cleaning"}),
    "lawn_mower": frozenset({"mowing"}),
}
_OFF_STATES = {
    "cover": frozenset({"closed", "closing"}),
    "valve": frozenset({"closed", "closing"}),
    "lock": frozenset({"unlocked", "unlocking"}),
    "vacuum": frozenset({"returning", "docked"}),
    "lawn_mower": frozenset({"docked", "returning"}),
}
_STATELESS = frozenset({"scene", "script", "button", "input_button"})
_RESTING = frozenset({"off", "standby"})
_GUARDED_COVERS = frozenset({"garage", "door", "gate"})
_COLOR_MODES = frozenset({"hs", "xy", "rgb", "rgbw", "rgbww"})
_COVER_POSITION, _COVER_STOP, _FAN_SPEED = 4, 8, 1  # supported_features of Home Assistant
_WHITE_KELVIN = 4000
_BRIGHTNESS_STEPS = {"small": 10, "large": 40}
_BRIGHTNESS_STEP = 20
_WARMTH_STEPS = {"small": 0.5, "large": 2.0}
_FAHRENHEIT_FACTOR = 2
_LEVEL_TOLERANCE = 2.0  # percent: devices round


@dataclass(frozen=True, slots=True)
class Expectation:
    """State that a device has when it has obeyed: one of `states`, none of `excluded`.

    `level` is the value of `attribute` times `scale`.
    """

    states: frozenset[str] = frozenset()
    excluded: frozenset[str] = frozenset()
    attribute: str | None = None
    level: float = 0.0
    scale: float = 1.0
    tolerance: float = 0.05

    def is_met(self, entity: Entity) -> bool:
        if not entity.is_available and (self.states or self.excluded or self.attribute):
            return False
        if (self.states and entity.state not in self.states) or entity.state in self.excluded:
            return False
        if self.attribute is None or entity.state in {"opening", "closing"}:
            return True
        value = entity.attributes.get(self.attribute)
        if not isinstance(value, int | float):
            return False
        return abs(value * self.scale - self.level) <= self.tolerance


@dataclass(frozen=True, slots=True)
class Step:
    """One service call for one entity. `result` says what is true afterwards: "is on"."""

    entity_id: str
    service: str
    expected: Expectation = field(default_factory=Expectation)
    data: Mapping[str, Any] = field(default_factory=dict)
    result: str = "on"


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps, and the entities that cannot do it, each with the reason: "can't be dimmed"."""

    steps: tuple[Step, ...]
    refusals: tuple[tuple[str, str], ...] = ()
    is_guarded: bool = False


class NotPossible(Exception):
    """The entity cannot do it; the message is the predicate of a sentence."""


def make_plan(home: Home, request: HomeRequest, targets: Targets) -> Plan:
    """Return what has to be called; of several targets only those that are not there yet."""
    make_step = _STEPS[request.intent]
    steps, refusals = list[Step](), list[tuple[str, str]]()
    for entity in targets.entities:
        if entity.state == "unavailable":
            refusals.append((entity.entity_id, "is not available"))
            continue
        try:
            steps.append(make_step(home, request.slots, entity))
        except NotPossible as reason:
            refusals.append((entity.entity_id, str(reason)))
    if request.intent == "BrightnessChange" and not targets.is_named:
        lit = [one for one in steps if home.entities[one.entity_id].state == "on"]
        steps = lit or steps
    guarded = any(is_guarded(home.entities[step.entity_id]) for step in steps)
    return Plan(tuple(steps), tuple(refusals), guarded)


def is_guarded(entity: Entity) -> bool:
    """Return whether a mistake would open the home to strangers, or lock the family out."""
    if entity.domain in {"lock", "alarm_control_panel"}:
        return True
    device_class = entity.attributes.get("device_class")
    if entity.domain == "cover" and device_class is None:
        return any(word in entity.name.lower() for word in ("garage", "gate"))
    return entity.domain == "cover" and device_class in _GUARDED_COVERS


# ---- steps --------------------------------------------------------------------------------------


def _turn_on(_home: Home, _slots: Mapping[str, Any], entity: Entity) -> Step:
    domain = entity.domain
    service = _ON_SERVICES.get(domain, f"{domain}.turn_on")
    if domain in _STATELESS:
        return Step(entity.entity_id, service)
    if domain in {"climate", "media_player", "humidifier", "water_heater"}:
        return Step(entity.entity_id, service, Expectation(excluded=_RESTING))
    states = _ON_STATES.get(domain, frozenset({"on"}))
    return Step(entity.entity_id, service, Expectation(states))


def _turn_off(_home: Home, _slots: Mapping[str, Any], entity: Entity) -> Step:
    domain = entity.domain
    if domain in _STATELESS - {"script"}:
        raise NotPossible("can't be turned off")
    service = _OFF_SERVICES.get(domain, f"{domain}.turn_off")
    states = _OFF_STATES.get(domain, _RESTING if domain == "media_player" else frozenset({"off"}))
    return Step(entity.entity_id, service, Expectation(states), result="off")


def _toggle(home: Home, slots: Mapping[str, Any], entity: Entity) -> Step:
    return (_turn_on if entity.state in _RESTING else _turn_off)(home, slots, entity)


def _set_light(home: Home, slots: Mapping[str, Any], entity: Entity) -> Step:
    if entity.domain != "light":
        raise NotPossible("is not a light")
    modes = _color_modes(entity)
    if "color" in slots:
        color = str(slots["color"])
        if color == "white" and not modes & _COLOR_MODES and "color_temp" in modes:
            return _set_kelvin(entity, _WHITE_KELVIN, "white")
        if not modes & _COLOR_MODES:
            raise NotPossible("has no colors")
        return Step(
            entity.entity_id,
            "light.turn_on",
            Expectation(frozenset({"on"})),
            {"color_name": color.replace(" ", "")},
            color,
        )
    if "temperature" in slots:
        if not modes & (_COLOR_MODES | {"color_temp"}):
            raise NotPossible("has only one kind of white")
        return _set_kelvin(entity, int(slots["temperature"]), "changed")
    level = round(float(slots["brightness"]))
    return _turn_off(home, slots, entity) if level == 0 else _set_level(entity, level)


def _set_kelvin(entity: Entity, kelvin: int, result: str) -> Step:
    data = {"color_temp_kelvin": kelvin}
    return Step(entity.entity_id, "light.turn_on", Expectation(frozenset({"on"})), data, result)


def _set_level(entity: Entity, level: int) -> Step:
    modes = _color_modes(entity)
    if modes and modes <= {"onoff", "unknown"}:
        raise NotPossible("can't be dimmed")
    expected = Expectation(
        frozenset({"on"}), frozenset(), "brightness", level, 100 / 255, _LEVEL_TOLERANCE
    )
    result = f"at {level} percent"
    return Step(entity.entity_id, "light.turn_on", expected, {"brightness_pct": level}, result)


def _change_brightness(_home: Home, slots: Mapping[str, Any], entity: Entity) -> Step:
    step = int(slots["step"]) * _BRIGHTNESS_STEPS.get(slots.get("size", ""), _BRIGHTNESS_STEP)
    value = entity.attributes.get("brightness")
    level = round(value * 100 / 255) if isinstance(value, int | float) else 0
    is_off = entity.state != "on"
    if is_off and step < 0:
        raise NotPossible("is off")
    return _set_level(entity, min(100, max(1, (0 if is_off else level) + step)))


def _set_position(home: Home, slots: Mapping[str, Any], entity: Entity) -> Step:
    position = round(float(slots["position"]))
    features = entity.attributes.get("supported_features", 0)
    if not int(features) & _COVER_POSITION:
        if position in {0, 100}:
            return (_turn_on if position else _turn_off)(home, slots, entity)
        raise NotPossible("can only be opened and closed")
    expected = Expectation(attribute="current_position", level=position, tolerance=_LEVEL_TOLERANCE)
    data, result = {"position": position}, f"at {position} percent"
    return Step(entity.entity_id, "cover.set_cover_position", expected, data, result)


def _stop_cover(_home: Home, _slots: Mapping[str, Any], entity: Entity) -> Step:
    if not int(entity.attributes.get("supported_features", 0)) & _COVER_STOP:
        raise NotPossible("can't be stopped on its way")
    return Step(entity.entity_id, "cover.stop_cover", result="stopped")


def _set_temperature(_home: Home, slots: Mapping[str, Any], entity: Entity) -> Step:
    target = float(slots["temperature"])
    lowest = float(entity.attributes.get("min_temp", target))
    highest = float(entity.attributes.get("max_temp", target))
    if not lowest <= target <= highest:
        raise NotPossible(f"takes {say_number(lowest)} to {say_number(highest)} degrees only")
    expected = Expectation(attribute="temperature", level=target)
    is_off = ", but it is off" if entity.state == "off" else ""
    result = f"set to {say_number(target)} degrees{is_off}"
    data = {"temperature": target}
    return Step(entity.entity_id, "climate.set_temperature", expected, data, result)


def _change_temperature(home: Home, slots: Mapping[str, Any], entity: Entity) -> Step:
    now = entity.attributes.get("temperature")
    if not isinstance(now, int | float):
        raise NotPossible("has no temperature to change now")
    factor = 1 if home.is_metric else _FAHRENHEIT_FACTOR
    amount = float(slots.get("amount") or factor * _WARMTH_STEPS.get(slots.get("size", ""), 1.0))
    return _set_temperature(home, {"temperature": now + int(slots["step"]) * amount}, entity)


def _set_fan_speed(home: Home, slots: Mapping[str, Any], entity: Entity) -> Step:
    percentage = round(float(slots["percentage"]))
    if percentage == 0:
        return _turn_off(home, slots, entity)
    if not int(entity.attributes.get("supported_features", 0)) & _FAN_SPEED:
        raise NotPossible("has only one speed")
    # A fan has a few speeds and takes the next one.
    expected, data = Expectation(frozenset({"on"})), {"percentage": percentage}
    result = f"at {percentage} percent"
    return Step(entity.entity_id, "fan.set_percentage", expected, data, result)


def _arm(_home: Home, _slots: Mapping[str, Any], entity: Entity) -> Step:
    states = frozenset({"armed_away", "arming", "pending"})
    service = "alarm_control_panel.alarm_arm_away"
    return Step(entity.entity_id, service, Expectation(states), result="armed")


def _disarm(_home: Home, _slots: Mapping[str, Any], entity: Entity) -> Step:
    service = "alarm_control_panel.alarm_disarm"
    return Step(entity.entity_id, service, Expectation(frozenset({"disarmed"})), result="disarmed")


def _color_modes(entity: Entity) -> frozenset[str]:
    modes = entity.attributes.get("supported_color_modes")
    return frozenset(map(str, modes)) if isinstance(modes, list | tuple) else frozenset()


_STEPS: Mapping[str, Callable[[Home, Mapping[str, Any], Entity], Step]] = {
    "HassTurnOn": _turn_on,
    "HassTurnOff": _turn_off,
    "Toggle": _toggle,
    "HassLightSet": _set_light,
    "HassSetPosition": _set_position,
    "HassClimateSetTemperature": _set_temperature,
    "HassFanSetSpeed": _set_fan_speed,
    "HassVacuumStart": _turn_on,
    "HassVacuumReturnToBase": _turn_off,
    "BrightnessChange": _change_brightness,
    "TemperatureChange": _change_temperature,
    "CoverStop": _stop_cover,
    "AlarmArm": _arm,
    "AlarmDisarm": _disarm,
}
