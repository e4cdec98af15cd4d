"""Music, radio and television: what is playing, and what the players can be switched to."""

from __future__ import annotations

import re
from collections.abc import Sequence

from barnabee.understanding.entity_lookup import NOT_CONNECTED, join_names, list_entities
from barnabee.understanding.interfaces import Entity, Home, HomeControl
from barnabee.understanding.media_players import (
    NO_PLAYER,
    call_player,
    choose_player,
    find_source,
    list_sources,
)
from barnabee.understanding.skill import (
    Skill,
    SkillCall,
    SkillContext,
    SkillIntent,
    SkillReply,
    Slot,
)

_NOT_PLAYABLE = re.compile(r"\b(?:game|hide and seek|chess|joke)\b", re.IGNORECASE)


async def handle(call: SkillCall, context: SkillContext) -> SkillReply | None:
    if call.intent == "media_play" and _NOT_PLAYABLE.search(str(call.slots["what"])):
        return None
    if context.home is None:
        return NOT_CONNECTED if call.intent == "media_play" else None
    home = await context.home.read_home()
    if call.intent == "media_now":
        return _tell_playing(home)
    if call.intent == "media_switch":
        return await _switch(str(call.slots["what"]), context.room, home, context.home)
    return await _play(call, context.room, home, context.home)


async def _play(call: SkillCall, room: str | None, home: Home, control: HomeControl) -> SkillReply:
    what, name = str(call.slots["what"]), call.slots.get("player")
    players = list_entities(home, "media_player")
    choice = choose_player(home, room, name)
    if not players or choice is None:
        known = join_names([f"the {one.name}" for one in players], "or")
        problem = f"I know no player called {name}, but {known}." if known else NO_PLAYER
        return SkillReply(f"I can't play {what} there. {problem}", code="no_valid_targets")
    named = choose_player(home, room, what)
    if named is not None and named.player is not None:
        return await _resume(named.player, control)
    able = _find_able(players, what)
    if choice.player is not None and (choice.player in able or name is not None):
        return await _select(what, choice.player, control)
    return await _select(what, able[0], control) if able else _explain_sources(what, players)


async def _switch(
    what: str, room: str | None, home: Home, control: HomeControl
) -> SkillReply | None:
    """Switch to a source; None when no player has it, because anything can be switched."""
    able = _find_able(list_entities(home, "media_player"), what)
    choice = choose_player(home, room, None)
    if choice is not None and choice.player in able:
        able = [choice.player]
    return await _select(what, able[0], control) if able else None


async def _resume(player: Entity, control: HomeControl) -> SkillReply:
    if not player.is_available:
        return SkillReply(f"The {player.name} does not answer.", code="unavailable")
    return await call_player(control, player, "media_play", {}, f"The {player.name} is playing.")


async def _select(what: str, player: Entity, control: HomeControl) -> SkillReply:
    source = find_source(player, what)
    if not player.is_available:
        return SkillReply(f"The {player.name} does not answer.", code="unavailable")
    if source is None:
        return _explain_sources(what, [player])
    phrase = f"The {player.name} is playing {source}."
    return await call_player(control, player, "select_source", {"source": source}, phrase)


def _find_able(players: Sequence[Entity], what: str) -> list[Entity]:
    return [one for one in players if one.is_available and find_source(one, what)]


def _explain_sources(what: str, players: list[Entity]) -> SkillReply:
    offers = [
        f"{join_names(list_sources(one), 'or')} on the {one.name}"
        for one in players
        if one.is_available and list_sources(one)
    ]
    could = (
        f" I could play {', or '.join(offers)}."
        if offers
        else (" Connect a music service in Home Assistant for that.")
    )
    return SkillReply(f"I can't play {what} here.{could}", code="no_valid_targets")


def _tell_playing(home: Home) -> SkillReply:
    players = [one for one in list_entities(home, "media_player") if one.state == "playing"]
    if not players:
        return SkillReply("Nothing is playing.")
    said = [f"{_say_title(one)} on the {one.name}" for one in players]
    return SkillReply(f"{join_names(said)}.", targets=tuple(one.entity_id for one in players))


def _say_title(player: Entity) -> str:
    title, artist = (player.attributes.get(f"media_{key}") for key in ("title", "artist"))
    title = title or player.attributes.get("source") or "Something"
    return f"{title} by {artist}" if artist else str(title)


_WHAT = Slot(description="What to play, for example: jazz")
_PLAYER = Slot(description="The player, for example: kitchen radio", is_required=False)
_TUNER = "(channel|station|source|input|radio|tv|television)"

SKILL = Skill(
    name="music",
    intents=(
        SkillIntent(
            "media_play",
            "play music",
            (
                "(play|put on) {what}",
                "(play|put on) {what} (on|in) [the] {player}",
                "(i want to|i'd like to|can we|let's) (listen to|hear) {what}",
            ),
            {"what": _WHAT, "player": _PLAYER},
        ),
        SkillIntent(
            "media_switch",
            "switch to another station or source",
            (
                f"(switch|change|tune|set|turn) [the] {_TUNER} to {{what}}",
                "(switch|change|tune) [over] to {what}",
            ),
            {"what": _WHAT},
        ),
        SkillIntent(
            "media_now",
            "tell you what is playing",
            (
                "(what's playing|what's this song|who sings this|who is singing) [right now|now]",
                "(what|which) (song|music|station|track) is (this|that|playing|on)",
            ),
        ),
    ),
    handle=handle,
)
