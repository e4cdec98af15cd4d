"""Questions about the home that a reply asks, and how their answers are read. Pure.

A question's data is JSON: its `kind`, the request it belongs to, and when it was asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from barnabee.understanding.entity_lookup import join_names
from barnabee.understanding.home_plan import Plan, is_guarded
from barnabee.understanding.home_recognizer import (
    HomeRequest,
    fold_sentence,
    fold_spelling,
)
from barnabee.understanding.home_targets import (
    Choice,
    Refusal,
    RoomMissing,
    name_entities,
    name_with_room,
)
from barnabee.understanding.interfaces import Entity, Home
from barnabee.understanding.questions import parse_yes_no
from barnabee.understanding.skill import Question, SkillReply

HOME = "home"
CONFIRM, WHICH, ROOM = "confirm", "which", "room"
VALID_FOR = timedelta(minutes=2)
DECLINED = "Okay, I won't."
_VERBS = {
    "lock.lock": "lock",
    "lock.unlock": "unlock",
    "cover.open_cover": "open",
    "cover.close_cover": "close",
    "cover.stop_cover": "stop",
    "alarm_control_panel.alarm_arm_away": "arm",
    "alarm_control_panel.alarm_disarm": "disarm",
}
_ALL = frozenset({"both", "all", "every", "each"})
_ORDINALS = ("first", "second", "third", "fourth")


def ask_confirmation(home: Home, request: HomeRequest, plan: Plan, now: datetime) -> SkillReply:
    """Ask before locks, gates and the alarm system change."""
    steps = [step for step in plan.steps if is_guarded(home.entities[step.entity_id])]
    entities = [home.entities[step.entity_id] for step in steps]
    verb = _VERBS.get(steps[0].service, "move")
    ids = [step.entity_id for step in plan.steps]
    slots = request.slots if request.intent == "Undo" else {**request.slots, "entity_ids": ids}
    return SkillReply(
        f"Do you want me to {verb} {name_entities(entities, home)}?",
        question=_make(CONFIRM, HomeRequest(request.intent, slots), now, verb=verb),
        targets=tuple(entity.entity_id for entity in entities),
    )


def explain(
    home: Home, request: HomeRequest, found: Choice | RoomMissing | Refusal, now: datetime
) -> SkillReply:
    """Return the reply where the targets are not known: a question, or the reason."""
    if isinstance(found, Refusal):
        return SkillReply(found.text, code=found.code)
    if isinstance(found, RoomMissing):
        return SkillReply("In which room?", question=_make(ROOM, request, now))
    ids = [entity.entity_id for entity in found.entities]
    names = [name_with_room(entity, home) for entity in found.entities]
    if len(set(names)) < len(names):
        ordinals = " or the ".join(_ORDINALS[: len(names)])
        text = f"There are {len(names)} of that name. The {ordinals}?"
    else:
        text = f"Which one: {join_names(names, 'or')}?"
    return SkillReply(text, question=_make(WHICH, request, now, choices=ids))


def read_answer(
    question: Question, text: str, home: Home, now: datetime
) -> HomeRequest | SkillReply | None:
    """Return what is to be done now; None if `text` is no answer, or it comes too late."""
    data = question.data
    if now - datetime.fromisoformat(data["asked_at"]) > VALID_FOR:
        return None
    request = HomeRequest(data["intent"], data["slots"], data.get("question", "one"))
    said = parse_yes_no(text)
    if said is False:
        return SkillReply(DECLINED)
    if data["kind"] == CONFIRM:
        words = fold_sentence(text).split()
        is_yes = said or (parse_yes_no(words[0]) if words else None)
        return request if is_yes and (said or data["verb"] in words) else None
    if data["kind"] == ROOM:
        return _read_room(request, text, home)
    choices = [home.entities[one] for one in data["choices"] if one in home.entities]
    chosen = _read_choice(text, choices, home)
    ids = [entity.entity_id for entity in chosen]
    return HomeRequest(request.intent, {**request.slots, "entity_ids": ids}) if ids else None


def _read_choice(text: str, choices: Sequence[Entity], home: Home) -> list[Entity]:
    folded = fold_sentence(text)
    words = set(folded.split())
    if words & _ALL:
        return list(choices)
    by_room = [one for one in choices if _names_room(folded, one, home)]
    if len(by_room) == 1:
        return by_room
    for entity, ordinal in zip(choices, _ORDINALS, strict=False):
        if ordinal in words:
            return [entity]
    by_name = [one for one in choices if any(fold_spelling(name) in folded for name in one.names)]
    return by_name if len(by_name) == 1 else []


def _names_room(folded: str, entity: Entity, home: Home) -> bool:
    area = home.areas.get(entity.area_id or "")
    said = f" {folded} "
    return area is not None and any(f" {fold_spelling(name)} " in said for name in area.names)


def _read_room(request: HomeRequest, text: str, home: Home) -> HomeRequest | None:
    said = f" {fold_sentence(text)} "
    slots = {key: value for key, value in request.slots.items() if key != "scope"}
    if (_ALL | {"everywhere"}) & set(said.split()):
        return HomeRequest(request.intent, {**slots, "scope": "home"})
    for area in home.areas.values():
        for name in map(fold_spelling, area.names):
            if f" {name} " in said:
                return HomeRequest(request.intent, {**slots, "area": name})
    return None


def _make(kind: str, request: HomeRequest, now: datetime, **more: Any) -> Question:
    data = {
        "kind": kind,
        "intent": request.intent,
        "slots": dict(request.slots),
        "question": request.question,
        "asked_at": now.isoformat(),
        **more,
    }
    return Question(HOME, data)
