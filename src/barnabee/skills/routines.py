"""Routines: those of system.toml, and scenes and scripts of Home Assistant by what people say."""

from __future__ import annotations

from collections.abc import Mapping

from barnabee.core.errors import HomeRefused, Unavailable
from barnabee.core.schema import RoutineConfig
from barnabee.understanding.entity_lookup import NOT_CONNECTED, join_names
from barnabee.understanding.interfaces import Entity, Home, HomeControl
from barnabee.understanding.skill import (
    Skill,
    SkillCall,
    SkillContext,
    SkillIntent,
    SkillReply,
    Slot,
)
from barnabee.understanding.words import fold_name

_INTENT_PREFIX = "routine_"
_KINDS = ("scene", "script")
# The names under which families keep a scene or script for what they say.
_OCCASIONS = {
    "routine_night": ("good night", "goodnight", "bedtime", "night", "go to bed", "sleep"),
    "routine_morning": ("good morning", "morning"),
    "routine_arrival": ("i'm home", "we're home", "welcome home", "arrive home", "come home"),
    "routine_leaving": ("leave home", "leaving home", "leaving", "i'm leaving", "away", "leave"),
    "routine_movie": ("movie night", "movie time", "movie", "film night", "cinema"),
}
_GREETINGS = {
    "routine_night": "Good night.",
    "routine_morning": "Good morning.",
    "routine_arrival": "Welcome home.",
    "routine_leaving": "See you later.",
}


def make_routine_skill(routines: Mapping[str, RoutineConfig]) -> Skill:
    """Return the skill of the routines of system.toml."""

    async def handle(call: SkillCall, context: SkillContext) -> SkillReply | None:
        routine = routines[call.intent.removeprefix(_INTENT_PREFIX)]
        return await _run(routine, context)

    intents = tuple(
        SkillIntent(
            f"{_INTENT_PREFIX}{name}",
            f"run the routine {name.replace('_', ' ').replace('-', ' ')}",
            tuple(routine.sentences),
        )
        for name, routine in routines.items()
    )
    return Skill("own_routines", intents, handle)


async def handle(call: SkillCall, context: SkillContext) -> SkillReply | None:
    """Run the scene or script that is meant; None when there is none of that name."""
    if context.home is None:
        return None
    home = await context.home.read_home()
    names = _OCCASIONS.get(call.intent) or (str(call.slots["name"]),)
    found = find_routine(home, names)
    if found is None:
        return await _ask_agent(call, context.home, context)
    if not found.is_available and found.domain == "script":
        return SkillReply(f"{found.name} is not available in Home Assistant.", code="unavailable")
    await context.home.call_service(f"{found.domain}.turn_on", [found.entity_id])
    return SkillReply(
        " ".join((_describe(call.intent, found), *_name_missing(home, found))),
        acted=True,
        actions=({"type": "entity", "name": found.name, "id": found.entity_id},),
    )


async def _ask_agent(
    call: SkillCall, home: HomeControl, context: SkillContext
) -> SkillReply | None:
    """Let Home Assistant answer if the family taught it the sentence, else greet or be silent."""
    if call.intent not in _OCCASIONS:
        return None
    answer = await home.converse(
        call.text, conversation_id=context.session_id, room=context.room, only=()
    )
    if answer.kind == "action_done":
        return SkillReply(answer.speech or "Okay.", acted=True, actions=answer.actions)
    is_greeted = call.intent in {"routine_arrival", "routine_leaving"}
    return SkillReply(_GREETINGS[call.intent]) if is_greeted else None


def find_routine(home: Home, names: tuple[str, ...]) -> Entity | None:
    """Return the scene or script that has one of these names; the first name counts most."""
    known = [entity for entity in home.entities.values() if entity.domain in _KINDS]
    for name in map(fold_name, names):
        for entity in sorted(known, key=lambda one: one.entity_id):
            if name in map(fold_name, entity.names):
                return entity
    return None


async def _run(routine: RoutineConfig, context: SkillContext) -> SkillReply:
    if context.home is None:
        return NOT_CONNECTED
    done: list[Mapping[str, str]] = []
    failed: list[str] = []
    for action in routine.actions:
        try:
            await context.home.call_service(action.service, action.entities, action.data)
        except HomeRefused as error:
            failed.append(str(error.fields.get("reason", action.service)))
        except Unavailable:
            if not done:
                raise
            failed.append("the connection to Home Assistant was lost")
        else:
            done.append({"type": "service", "name": action.service, "id": action.service})
    if failed:
        opening = "I did only a part of it" if done else "I could not do it"
        text = f"{opening}: {join_names(failed)}."
        return SkillReply(text, acted=bool(done), code="home_refused", actions=tuple(done))
    return SkillReply(routine.say, acted=True, actions=tuple(done))


def _describe(intent: str, found: Entity) -> str:
    change = "has started" if found.domain == "script" else "is on"
    text = f"The {found.name.lower()} {found.domain} {change}."
    return f"{_GREETINGS[intent]} {text}" if intent in _GREETINGS else text


def _name_missing(home: Home, found: Entity) -> tuple[str, ...]:
    """Return a sentence about the devices of a scene that cannot be reached, if there are any."""
    members = found.attributes.get("entity_id") or ()
    missing = [
        home.entities[one].name
        for one in members
        if one in home.entities and not home.entities[one].is_available
    ]
    return (f"{join_names(missing)} did not answer.",) if missing else ()


_RUN = "(start|run|activate|begin|launch|execute|trigger|do|set)"

SKILL = Skill(
    name="routines",
    intents=(
        SkillIntent(
            "routine_night",
            "run the good night routine",
            (
                "(good night|goodnight|night night|nighty night) [everyone|everybody]",
                "(it's|it is|time for) (bedtime|bed time|bed)",
                "(bedtime|bed time|i'm going to bed|we're going to bed|going to bed)",
                "(i am going to bed|we are going to bed|time to sleep)",
            ),
        ),
        SkillIntent(
            "routine_morning",
            "run the good morning routine",
            ("good morning [everyone|everybody]", "(i'm up|i'm awake|we're up)"),
        ),
        SkillIntent(
            "routine_arrival",
            "run the routine for coming home",
            ("(i'm|i am|we're|we are) (home|back|back home)", "i just got home"),
        ),
        SkillIntent(
            "routine_leaving",
            "run the routine for leaving",
            (
                "(i'm|i am|we're|we are) (leaving|going out|off|heading out) [now]",
                "(i'm|i am|we're|we are) leaving (home|the house) [now]",
            ),
        ),
        SkillIntent(
            "routine_movie",
            "prepare the room for a movie",
            ("(movie|film) (time|night)", "(let's|we want to) watch a (movie|film)"),
        ),
        SkillIntent(
            "routine_run",
            "run a scene or script",
            (
                f"{_RUN} [the] {{name}} [scene|script|routine|mode]",
                "(it's|it is|time for) {name}",
                "let's (do|have) [a] {name}",
            ),
            {"name": Slot(description="The name of the scene or script")},
        ),
    ),
    handle=handle,
)
