"""Media players: which one a sentence means, what it can play, and whether it did."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from barnabee.understanding.entity_lookup import (
    find_area,
    find_by_name,
    join_names,
    list_entities,
)
from barnabee.understanding.home_controller import SETTLE_S, ObservableHome
from barnabee.understanding.interfaces import Entity, Home, HomeControl
from barnabee.understanding.skill import SkillReply
from barnabee.understanding.words import fold_name

NO_PLAYER = (
    "There is no music player that I can control. Add a media player in Home Assistant and expose "
    "it to Assist."
)
_ACTIVE = frozenset(("playing", "paused", "buffering"))
_GENERAL = frozenset(
    ("music", "song", "radio", "sound", "volume", "player", "speaker", "audio", "playback", "it")
)
_TOLERANCE = 0.03  # players have steps of their own
_FILLING = re.compile(r"^(?:(?:some|me|us|a bit of|a little|the|my|our)\s+)+|\s+(?:music|please)$")


@dataclass(frozen=True, slots=True)
class PlayerChoice:
    """The player that is meant, or the players that could be."""

    player: Entity | None
    candidates: tuple[Entity, ...] = ()

    @property
    def problem(self) -> str:
        """Return why there is no player, in one sentence."""
        if not self.candidates:
            return NO_PLAYER
        return f"Which one: {join_names([f'the {one.name}' for one in self.candidates], 'or')}?"


def choose_player(
    home: Home, room: str | None, name: str | None, *, playing_only: bool = False
) -> PlayerChoice | None:
    """Return the player of this name, else the active one, that of the room, or the only one.

    None when `name` is not that of a player.
    """
    players = list_entities(home, "media_player")
    if name is not None and fold_name(_FILLING.sub("", name)) not in _GENERAL:
        named = find_by_name(players, name) or _find_in_area(home, players, name)
        if not named:
            return None
        return PlayerChoice(named[0]) if len(named) == 1 else PlayerChoice(None, tuple(named))
    available = [one for one in players if one.is_available]
    area = find_area(home, room)
    here = [one for one in available if area is not None and one.area_id == area.area_id]
    active = [one for one in available if one.state in _ACTIVE]
    for group in ([one for one in here if one in active], active, [] if playing_only else here):
        if len(group) == 1:
            return PlayerChoice(group[0])
        if group:
            return PlayerChoice(None, tuple(group))
    if playing_only:
        return PlayerChoice(None)
    return (
        PlayerChoice(available[0]) if len(available) == 1 else PlayerChoice(None, tuple(available))
    )


async def call_player(
    control: HomeControl, player: Entity, action: str, data: Mapping[str, Any], phrase: str
) -> SkillReply:
    """Call a service of the player and reply with `phrase`, if the player then is in that state."""
    service, ids = f"media_player.{action}", (player.entity_id,)
    await control.call_service(service, ids, data)

    def is_reached(home: Home) -> bool:
        entity = home.entities.get(player.entity_id)
        return entity is not None and _has_reacted(entity, action, data)

    if isinstance(control, ObservableHome):
        after = await control.wait_until(is_reached, SETTLE_S)
    else:
        after = await control.read_home()
    if not is_reached(after):
        text = f"The {player.name} did not react."
        return SkillReply(text, acted=True, code="failed_to_handle", targets=ids)
    before = {name: player.attributes[name] for name in data if name in player.attributes}
    undo = ({"service": service, "entity_ids": list(ids), "data": before},) if before else ()
    done = {"type": "entity", "name": player.name, "id": player.entity_id}
    return SkillReply(phrase, acted=True, actions=(done,), targets=ids, undo=undo)


def _has_reacted(entity: Entity, action: str, data: Mapping[str, Any]) -> bool:
    if action in {"media_play", "media_pause", "media_stop"}:
        return (entity.state in {"playing", "buffering"}) == (action == "media_play")
    if entity.state == "off":
        return False
    for name, wanted in data.items():
        value = entity.attributes.get(name)
        if value is None:  # not every player tells, and those that are off tell nothing
            continue
        if isinstance(value, float) and abs(value - wanted) > _TOLERANCE:
            return False
        if not isinstance(value, float) and value != wanted:
            return False
    return True


def find_source(player: Entity, wanted: str) -> str | None:
    """Return the source of the player that `wanted` names: "some jazz" is "Jazz"."""
    key = fold_name(_FILLING.sub("", wanted.lower()))
    for source in list_sources(player):
        if fold_name(source) in {key, fold_name(wanted)}:
            return source
    return None


def list_sources(player: Entity) -> Sequence[str]:
    """Return what the player can be switched to."""
    return [str(one) for one in player.attributes.get("source_list") or ()]


def _find_in_area(home: Home, players: Sequence[Entity], name: str) -> list[Entity]:
    """Return the players of "kitchen speaker" or "the music in the kitchen"."""
    words = re.sub(rf"\b(?:{'|'.join(_GENERAL)}|in|the)\b", " ", fold_name(name))
    area = find_area(home, " ".join(words.split()) or None)
    return [one for one in players if area is not None and one.area_id == area.area_id]
