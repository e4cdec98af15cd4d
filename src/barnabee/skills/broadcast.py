"""Announcements in one room, or in all others."""

from __future__ import annotations

import re
from collections.abc import Collection

from barnabee.core.errors import Unavailable
from barnabee.understanding.entity_lookup import capitalize, join_names
from barnabee.understanding.skill import (
    Question,
    Skill,
    SkillCall,
    SkillContext,
    SkillIntent,
    SkillReply,
    Slot,
)
from barnabee.understanding.words import fold_name

NOT_CONFIGURED = SkillReply("No room has a speaker of mine.", code="not_configured")
_EVERYWHERE = frozenset(
    ("everyone", "everybody", "all", "the family", "family", "the house", "the kids", "all rooms")
)
_CANCELLED = re.compile(r"(?:never ?mind|cancel|forget it|no|stop|nothing)", re.IGNORECASE)


async def handle(call: SkillCall, context: SkillContext) -> SkillReply | None:
    place, text = call.slots.get("place"), call.slots.get("text")
    if call.intent == "broadcast_call" and text:
        text = f"Time for {text}"
    if call.intent == "broadcast_tell" and place and not await _is_room(place, context):
        return None  # "tell me a joke"
    if not text:
        data = {"place": place} if place else {}
        return SkillReply("What should I say?", question=Question(SKILL.name, data))
    return await _announce(text, place, context)


async def answer(question: Question, text: str, context: SkillContext) -> SkillReply | None:
    """Announce what was asked for."""
    if _CANCELLED.fullmatch(text.strip(" .!")):
        return SkillReply("Okay.")
    return await _announce(text, question.data.get("place"), context)


def name_rooms(place: str) -> set[str]:
    """Return the names that the room of a spoken place can have: "living_room", "livingroom"."""
    words = re.sub(r"^(?:the|my|our) ", "", fold_name(place)).split()
    return {separator.join(words) for separator in ("_", "-", "")}


async def _announce(text: str, place: str | None, context: SkillContext) -> SkillReply:
    if context.announcer is None:
        return NOT_CONFIGURED
    is_everywhere = place is None or place.lower() in _EVERYWHERE
    rooms: Collection[str] = () if is_everywhere or place is None else name_rooms(place)
    sentence = _make_sentence(text)
    reached = await context.announcer.announce(sentence, rooms, besides=context.room)
    if reached:
        names = join_names([f"the {room.replace('_', ' ').replace('-', ' ')}" for room in reached])
        actions = tuple({"type": "announcement", "name": room} for room in reached)
        return SkillReply(f"I said it in {names}.", acted=True, actions=actions)
    if rooms:
        return SkillReply(f"No speaker of mine is connected there: {place}.", code="not_connected")
    return SkillReply("No other room is connected.", code="not_connected")


def _make_sentence(text: str) -> str:
    """Return what is said: "to come down" is "Please come down."."""
    return capitalize(re.sub(r"^to (?=\w)", "please ", text.strip(" .!"))) + "."


async def _is_room(place: str, context: SkillContext) -> bool:
    """Return whether a place is everywhere or a room of the home."""
    if place.lower() in _EVERYWHERE:
        return True
    try:
        home = await context.home.read_home() if context.home is not None else None
    except Unavailable:
        home = None
    known = {fold_name(name) for area in home.areas.values() for name in area.names} if home else ()
    wanted = re.sub(r"^(?:the|my|our) ", "", fold_name(place))
    return wanted in known


_TEXT = Slot("text", "what is said", is_required=False)
_PLACE = Slot("text", "the room; leave it out for all rooms", is_required=False)
_ALL = "(everyone|everybody|the family|the kids|the whole family|the house|all rooms)"
SKILL = Skill(
    name="broadcast",
    intents=(
        SkillIntent(
            "broadcast",
            "announce something in the other rooms",
            (
                f"tell {_ALL} [that] {{text}}",
                f"let {_ALL} know [that] {{text}}",
                f"say to {_ALL} [that] {{text}}",
                "(announce|broadcast) [that] {text}",
                "(announce|broadcast) (in|to|at) {place} that {text}",
                "(announce|broadcast|say) {text} (in|to) the {place}",
                "(announce|broadcast) {text} (everywhere|in all rooms|to everyone|to everybody)",
                "say {text} (everywhere|in all rooms)",
                "(make|do) an announcement [that|saying] [{text}]",
                "(make|do) an announcement in {place} [that|saying] {text}",
                "(announce|broadcast) [something|a message]",
            ),
            {"text": _TEXT, "place": _PLACE},
        ),
        SkillIntent(
            "broadcast_tell",
            "say something in one room",
            ("tell {place} that {text}", "tell the {place} [that] {text}"),
            {"text": Slot("text", "what is said"), "place": Slot("text", "the room")},
        ),
        SkillIntent(
            "broadcast_call",
            "call the family to something",
            (f"call {_ALL} (for|to) {{text}}",),
            {"text": Slot("text", "what they are called to, such as dinner")},
        ),
    ),
    handle=handle,
    answer=answer,
)
