"""What is said after a request was carried out, and how it is undone. Pure.

A call is JSON, because it is stored with the session: `service`, `entity_ids` and `data`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from barnabee.understanding.entity_lookup import join_names
from barnabee.understanding.home_answers import say_state
from barnabee.understanding.home_plan import Expectation, Plan, Step, is_guarded
from barnabee.understanding.home_targets import (
    Targets,
    choose_verb,
    is_short,
    make_sentence,
    name_entities,
    name_kind,
)
from barnabee.understanding.interfaces import Entity, Home
from barnabee.understanding.skill import SkillReply

FAILED = "failed_to_handle"
_PLURALS = {"is": "are", "has": "have", "takes": "take"}
_TECHNICAL = re.compile(r"\b[a-z_]+\.[a-z_0-9]+\b|[{}<>\[\]]|Error\b")  # not for the family
_STATE_DOMAINS = frozenset({"cover", "lock", "vacuum", "valve", "lawn_mower"})
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


def is_there_already(home: Home, step: Step) -> bool:
    """Return whether the entity has the state that the step leads to; never for a scene."""
    entity = home.entities.get(step.entity_id)
    is_known = step.expected.states or step.expected.excluded or step.expected.attribute
    return entity is not None and bool(is_known) and step.expected.is_met(entity)


def report_unavailable(entities: Sequence[Entity]) -> SkillReply:
    return SkillReply(
        make_sentence(f"sorry, {name_entities(entities)} {choose_verb(entities)} not available"),
        code=FAILED,
        targets=tuple(entity.entity_id for entity in entities),
    )


def report_changes(
    home: Home,
    plan: Plan,
    targets: Targets,
    reasons: Mapping[str, str] | None = None,
    undo: tuple[Mapping[str, Any], ...] = (),
    *,
    is_old: bool = False,
) -> SkillReply:
    """Return the reply to a plan; `reasons` are those of refused calls, by entity id.

    `is_old`: nothing was called, because every state was there already.
    """
    done, failures = list[tuple[Step, Entity]](), list[tuple[Entity, str]]()
    for step in plan.steps:
        entity = home.entities.get(step.entity_id)
        if entity is None:
            continue
        if (reason := _find_failure(step, entity, reasons or {})) is None:
            done.append((step, entity))
        else:
            failures.append((entity, reason))
    failures += [(home.entities[one], reason) for one, reason in plan.refusals]
    text = _say_done(home, done, targets, is_old=is_old, is_partial=bool(failures))
    wrong = _say_failures(home, failures)
    if text and wrong:
        text = f"{text}, but {wrong}"
    return SkillReply(
        make_sentence(text or f"sorry, {wrong or 'there is nothing to do'}"),
        acted=bool(plan.steps) and not is_old,
        code=None if done else FAILED,
        actions=tuple(
            {"type": "entity", "name": entity.name, "id": entity.entity_id} for _, entity in done
        ),
        targets=tuple(entity.entity_id for entity in targets.entities)
        or tuple(dict.fromkeys(step.entity_id for step in plan.steps)),
        undo=undo,
    )


def _find_failure(step: Step, entity: Entity, reasons: Mapping[str, str]) -> str | None:
    if step.entity_id in reasons:
        reason = reasons[step.entity_id].rstrip(".")
        return "reported an error" if _TECHNICAL.search(reason) else f"refused: {reason}"
    if step.expected.is_met(entity):
        return None
    return "is not available" if not entity.is_available else "did not react yet"


def _say_failures(home: Home, failures: Sequence[tuple[Entity, str]]) -> str:
    """Return the reasons, each with the names of those that it holds for."""
    by_reason: dict[str, list[Entity]] = {}
    for entity, reason in failures:
        by_reason.setdefault(reason, []).append(entity)
    parts = []
    for reason, entities in by_reason.items():
        verb, _, rest = reason.partition(" ")
        verb = verb if choose_verb(entities) == "is" else _PLURALS.get(verb, verb)
        names = name_entities(entities, home) if is_short(entities) else f"{len(entities)} others"
        parts.append(f"{names} {verb} {rest}")
    return join_names(parts)


def _say_done(
    home: Home,
    done: Sequence[tuple[Step, Entity]],
    targets: Targets,
    *,
    is_old: bool,
    is_partial: bool,
) -> str:
    if not done:
        return ""
    entities = list({entity.entity_id: entity for _, entity in done}.values())
    if all(entity.domain in {"scene", "script", "button", "input_button"} for entity in entities):
        return f"okay, {name_entities(entities, home)}"
    results: dict[str, list[Entity]] = {}
    for step, entity in done:
        group = results.setdefault(_say_result(step, entity), [])
        if entity not in group:  # several calls may restore one entity
            group.append(entity)
    already = "already " if is_old else ""
    if not targets.entities and not is_short(entities):
        return "everything is as before"  # undone
    is_group = len(entities) > 1 and (bool(targets.place) or not is_short(entities))
    if len(results) == 1 and not targets.is_named and is_group:
        subject = _say_group(entities, targets, is_partial=is_partial)
        verb = "is" if subject.startswith("everything") else "are"
        return f"{subject} {verb} {already}{next(iter(results))}"
    parts = [
        f"{name_entities(group, home)} {choose_verb(group)} {already}{result}"
        for result, group in results.items()
        if is_short(group)
    ]
    rest = sum(len(group) for group in results.values() if not is_short(group))
    return join_names([*parts, *([f"{rest} more are changed"] if rest else [])])


def _say_result(step: Step, entity: Entity) -> str:
    has_word = step.result in {"on", "off", "open", "closed", "locked", "unlocked"}
    return say_state(entity) if entity.domain in _STATE_DOMAINS and has_word else step.result


def _say_group(entities: Sequence[Entity], targets: Targets, *, is_partial: bool) -> str:
    domains = {entity.domain for entity in entities}
    if len(domains) > 1:
        return f"everything {'else ' if is_partial else ''}{targets.place}".rstrip()
    classes = {entity.attributes.get("device_class") for entity in entities}
    device_class = classes.pop() if len(classes) == 1 and domains == {"cover"} else None
    kind = name_kind(domains.pop(), device_class if isinstance(device_class, str) else None)
    other = "other " if is_partial else ""
    every = "the" if targets.place else "all" if not is_partial else "all the"
    return f"{every} {other}{kind} {targets.place}".rstrip()


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
