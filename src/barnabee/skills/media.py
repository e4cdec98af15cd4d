"""Media players: volume, pause, stop, next."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from barnabee.understanding.entity_lookup import NOT_CONNECTED, capitalize, list_entities
from barnabee.understanding.interfaces import Entity, Home, HomeControl
from barnabee.understanding.media_players import PlayerChoice, call_player, choose_player
from barnabee.understanding.skill import (
    Question,
    Skill,
    SkillCall,
    SkillContext,
    SkillIntent,
    SkillReply,
    Slot,
)

_STEPS = ((r"\b(?:bit|little|slightly|touch)\b", 0.05), (r"\b(?:lot|much|way)\b", 0.25))
_STEP = 0.1
_OF_TEN = 10
_OFF = frozenset(("off", "standby"))
_SERVICES = {
    "media_pause": ("media_pause", "I paused {}."),
    "media_resume": ("media_play", "{} is playing."),
    "media_stop": ("media_stop", "I stopped {}."),
    "media_next": ("media_next_track", "Next one on {}."),
    "media_previous": ("media_previous_track", "Back to the previous one on {}."),
    "media_mute": ("volume_mute", "I muted {}."),
    "media_unmute": ("volume_mute", "The sound of {} is back on."),
}


async def handle(call: SkillCall, context: SkillContext) -> SkillReply | None:
    if context.home is None:
        return NOT_CONNECTED if call.intent.startswith("media_volume") else None
    home = await context.home.read_home()
    needs_playing = call.intent in {"media_next", "media_previous", "media_stop", "media_pause"}
    name = call.slots.get("player")
    choice = choose_player(home, context.room, name, playing_only=needs_playing)
    if choice is None:
        return None
    if choice.player is None:
        return _explain(call, choice, is_playing_needed=needs_playing, home=home)
    return await _act(call.intent, call.slots, choice.player, context.home, call.text)


async def answer(question: Question, text: str, context: SkillContext) -> SkillReply | None:
    """Carry out the command on the player that the answer names."""
    if context.home is None:
        return None
    name = re.sub(r"^(?:on|the|use)\s+|\s+(?:one|please)$", "", text.strip(" .!?").lower())
    choice = choose_player(await context.home.read_home(), context.room, name)
    if choice is None or choice.player is None:
        return None
    data = question.data
    return await _act(data["intent"], data["slots"], choice.player, context.home, data["text"])


def _explain(
    call: SkillCall, choice: PlayerChoice, *, is_playing_needed: bool, home: Home
) -> SkillReply | None:
    """Say why no player is chosen; None for a word alone that may mean something else."""
    if choice.candidates:
        slots = {name: value for name, value in call.slots.items() if name != "player"}
        data = {"intent": call.intent, "slots": slots, "text": call.text}
        return SkillReply(choice.problem, question=Question(SKILL.name, data))
    if len(call.text.split()) == 1 and call.intent in {"media_next", "media_pause", "media_stop"}:
        return None
    if is_playing_needed and list_entities(home, "media_player"):
        return SkillReply("Nothing is playing.", code="no_valid_targets")
    return SkillReply(choice.problem, code="no_valid_targets")


async def _act(
    intent: str, slots: Mapping[str, Any], player: Entity, control: HomeControl, text: str
) -> SkillReply:
    name = f"the {player.name}"
    if not player.is_available:
        return SkillReply(f"{capitalize(name)} does not answer.", code="unavailable")
    if player.state in _OFF and intent != "media_resume":
        return SkillReply(f"{capitalize(name)} is off.", code="off", targets=(player.entity_id,))
    if intent.startswith("media_volume"):
        return await _set_volume(intent, slots, player, control, text)
    service, phrase = _SERVICES[intent]
    data = {"is_volume_muted": intent == "media_mute"} if service == "volume_mute" else {}
    return await call_player(control, player, service, data, capitalize(phrase.format(name)))


async def _set_volume(
    intent: str, slots: Mapping[str, Any], player: Entity, control: HomeControl, text: str
) -> SkillReply:
    now = player.attributes.get("volume_level")
    if intent == "media_volume_set":
        level = float(slots["level"])
        is_of_ten = level <= _OF_TEN and not re.search(r"%|per ?cent", text)
        volume = level / (_OF_TEN if is_of_ten else 100)
    elif now is None:
        reply = f"The {player.name} does not tell me its volume."
        return SkillReply(reply, code="no_volume")
    else:
        step = next((step for words, step in _STEPS if re.search(words, text)), _STEP)
        volume = now + (step if intent == "media_volume_up" else -step)
    volume = round(min(max(volume, 0.0), 1.0), 2)
    phrase = f"The {player.name} is at {volume:.0%}".replace("%", " percent.")
    return await call_player(control, player, "volume_set", {"volume_level": volume}, phrase)


_PLAYER = Slot(description="The player, for example: kitchen radio", is_required=False)
_NAMED = {"player": _PLAYER}
_ON = "[on|in|of] [the] {player}"
_A_BIT = "[a bit|a little|a little bit|slightly|a lot|much|way]"
_THING = "(music|song|track|video|movie|film|radio|playback)"


def _change(direction: str, word: str) -> tuple[str, ...]:
    return (
        f"{_A_BIT} {word}",
        f"[make it] {_A_BIT} {word}",
        f"(volume {direction}|turn {direction} (the volume|the music|the sound)) {_A_BIT}",
        f"turn (it|this|that|the music|the sound|the volume) {direction} {_A_BIT}",
        f"turn {direction} [the volume of|the volume on|the] {{player}} {_A_BIT}",
        f"turn [the volume of|the volume on|the] {{player}} {direction} {_A_BIT}",
        f"(turn|make) [the] {{player}} {_A_BIT} {word}",
    )


SKILL = Skill(
    name="media",
    intents=(
        SkillIntent(
            "media_volume_set",
            "set the volume",
            (
                "[set|turn|put|change] [the] volume [up|down] [to|at] {level} [percent|%]",
                f"(set|turn|put|change) [the] volume {_ON} to {{level}} [percent|%]",
                "(set|turn|put|change) [the] {player} volume to {level} [percent|%]",
            ),
            {"level": Slot("number", "The volume from 0 to 100 percent"), "player": _PLAYER},
        ),
        SkillIntent("media_volume_up", "make it louder", _change("up", "louder"), _NAMED),
        SkillIntent(
            "media_volume_down",
            "make it quieter",
            (*_change("down", "(quieter|softer)"), "[it's|that's] too loud"),
            _NAMED,
        ),
        SkillIntent("media_mute", "mute it", ("mute [the] [{player}]",), _NAMED),
        SkillIntent("media_unmute", "unmute it", ("unmute [the] [{player}]",), _NAMED),
        SkillIntent(
            "media_pause",
            "pause what is playing",
            (f"pause [(the|this) {_THING}]", "pause [the] {player}"),
            _NAMED,
        ),
        SkillIntent(
            "media_resume",
            "go on playing",
            (
                f"(resume|continue|unpause|play) (the|this) {_THING}",
                "(resume|unpause|play|continue playing|keep playing)",
                "(resume|unpause) [the] {player}",
            ),
            _NAMED,
        ),
        SkillIntent(
            "media_stop",
            "stop the music",
            (
                f"(stop|turn off|switch off) (the|this) {_THING}",
                f"(turn|switch) (the|this) {_THING} off",
                "stop [the] {player}",
            ),
            _NAMED,
        ),
        SkillIntent(
            "media_next",
            "skip to the next one",
            (
                "(next|skip) [the|this] [song|track|one|station|channel]",
                "(play|go to) the next (song|track|one|station|channel)",
            ),
        ),
        SkillIntent(
            "media_previous",
            "go back to the previous one",
            ("[play|go back to|go to] [the] previous (song|track|one|station|channel)",),
        ),
    ),
    handle=handle,
    answer=answer,
)
