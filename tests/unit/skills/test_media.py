"""Music, radio and television, by the sentences that control them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from barnabee.skills import media, music
from support.home import FakeHome
from support.skills import SkillDialogue

RADIO, TV = "media_player.radio", "media_player.tv"


@pytest.fixture
def home() -> FakeHome:
    home = FakeHome()
    sources = {"source_list": ["Radio 1", "Jazz"]}
    home.add(RADIO, "Kitchen radio", "playing", area="kitchen", volume_level=0.3, **sources)
    home.add(TV, "Television", "off", area="living_room", aliases=("TV",), source_list=["Films"])
    return home


@pytest.fixture
def dialogue(home: FakeHome) -> SkillDialogue:
    return SkillDialogue([media.SKILL, music.SKILL], home, room="kitchen")


@pytest.mark.parametrize(
    ("sentence", "service", "data"),
    [
        ("louder", "volume_set", {"volume_level": 0.4}),
        ("a bit quieter", "volume_set", {"volume_level": 0.25}),
        ("turn it up", "volume_set", {"volume_level": 0.4}),
        ("turn down the kitchen radio", "volume_set", {"volume_level": 0.2}),
        ("set the volume to 60 percent", "volume_set", {"volume_level": 0.6}),
        ("volume 5", "volume_set", {"volume_level": 0.5}),
        ("set the volume to 5 percent", "volume_set", {"volume_level": 0.05}),
        ("set the volume to 300 percent", "volume_set", {"volume_level": 1.0}),
        ("mute", "volume_mute", {"is_volume_muted": True}),
        ("unmute the radio", "volume_mute", {"is_volume_muted": False}),
        ("pause the music", "media_pause", {}),
        ("stop the music", "media_stop", {}),
        ("next song", "media_next_track", {}),
        ("skip this song", "media_next_track", {}),
        ("resume the music", "media_play", {}),
        ("play some jazz", "select_source", {"source": "Jazz"}),
        ("put on radio one", "select_source", {"source": "Radio 1"}),
        ("switch to radio one", "select_source", {"source": "Radio 1"}),
        ("a lot louder", "volume_set", {"volume_level": 0.55}),
        ("turn the music off", "media_stop", {}),
    ],
)
async def test_the_player_of_the_room_is_controlled(
    dialogue: SkillDialogue, home: FakeHome, sentence: str, service: str, data: dict[str, object]
) -> None:
    answer = await dialogue.say(sentence)
    assert answer is not None
    assert answer.acted
    (call,) = home.calls
    assert (call.service, call.entity_ids, call.data) == (f"media_player.{service}", (RADIO,), data)


async def test_a_player_is_named(dialogue: SkillDialogue, home: FakeHome) -> None:
    await dialogue.say("play films on the TV")
    assert home.calls[-1].entity_ids == (TV,)
    answer = await dialogue.say("what's playing")
    assert answer is not None
    assert answer.text == "Something on the Kitchen radio and Films on the Television."


async def test_the_volume_can_be_undone(dialogue: SkillDialogue) -> None:
    answer = await dialogue.say("louder")
    assert answer is not None
    assert answer.undo == (
        {
            "service": "media_player.volume_set",
            "entity_ids": [RADIO],
            "data": {"volume_level": 0.3},
        },
    )


@pytest.mark.parametrize(
    ("sentence", "reply"),
    [
        (
            "play the beatles",
            (
                "I can't play the beatles here. "
                "I could play Radio 1 or Jazz on the Kitchen radio, or Films on the Television."
            ),
        ),
        ("turn up the television", "The Television is off."),
        (
            "play jazz in the attic",
            (
                "I can't play jazz there. "
                "I know no player called attic, but the Kitchen radio or the Television."
            ),
        ),
    ],
)
async def test_what_cannot_be_done_is_said_with_what_could(
    dialogue: SkillDialogue, home: FakeHome, sentence: str, reply: str
) -> None:
    answer = await dialogue.say(sentence)
    assert answer is not None
    assert (answer.text, answer.acted, home.calls) == (reply, False, [])


@pytest.mark.parametrize(
    "sentence",
    [
        "turn up the heating",
        "pause the timer",
        "stop the timer",
        "play a game",
        "stop",
        "switch to winter time",
    ],
)
async def test_other_things_are_left_to_others(dialogue: SkillDialogue, sentence: str) -> None:
    assert await dialogue.say(sentence) is None


async def test_which_player_is_asked_when_several_could_be_meant(home: FakeHome) -> None:
    home.add(TV, "Television", "playing", area="living_room", volume_level=0.5)
    dialogue = SkillDialogue([media.SKILL, music.SKILL], home, room="bathroom")
    answer = await dialogue.say("louder")
    assert answer is not None
    assert answer.text == "Which one: the Kitchen radio or the Television?"
    answer = await dialogue.say("the television")
    assert answer is not None
    assert answer.text == "The Television is at 60 percent."


async def test_without_a_player_the_reply_says_what_to_add() -> None:
    answer = await SkillDialogue([media.SKILL, music.SKILL], FakeHome()).say("play some jazz")
    assert answer is not None
    assert "Add a media player" in answer.text
    assert not answer.acted


async def test_nothing_playing_is_said(home: FakeHome) -> None:
    home.add(RADIO, "Kitchen radio", "off", area="kitchen")
    answer = await SkillDialogue([media.SKILL, music.SKILL], home, room="kitchen").say(
        "pause the music"
    )
    assert answer is not None
    assert answer.text == "Nothing is playing."


@pytest.mark.parametrize("sentence", ["louder", "pause the music", "play jazz"])
async def test_a_player_that_does_not_react_is_told(
    dialogue: SkillDialogue, home: FakeHome, sentence: str
) -> None:
    home.stuck.add(RADIO)
    home.entities[RADIO] = replace(
        home.entities[RADIO], attributes={**home.entities[RADIO].attributes, "source": "Radio 1"}
    )
    answer = await dialogue.say(sentence)
    assert answer is not None
    assert answer.text == "The Kitchen radio did not react."
