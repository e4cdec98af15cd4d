"""Replies that say what was really done, from the states afterwards. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from barnabee.understanding.entity_lookup import join_names
from barnabee.understanding.home_answers import say_state
from barnabee.understanding.home_phrases import (
    choose_verb,
    is_short,
    make_sentence,
    name_entities,
    name_kind,
)
from barnabee.understanding.home_plan import Plan, Step
from barnabee.understanding.home_targets import Targets
from barnabee.understanding.interfaces import Entity, Home
from barnabee.understanding.skill import SkillReply

FAILED = "failed_to_handle"
_PLURALS = {"is": "are", "has": "have", "takes": "take"}
_TECHNICAL = re.compile(r"\b[a-z_]+\.[a-z_0-9]+\b|[{}<>\[\]]|Error\b")  # not for the family
_STATE_DOMAINS = frozenset({"cover", "lock", "vacuum", "valve", "lawn_mower"})


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
