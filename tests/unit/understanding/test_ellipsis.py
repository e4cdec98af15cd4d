"""Pronouns and follow-ups, completed from the last command."""

from __future__ import annotations

from dataclasses import replace

import pytest

from barnabee.store.sessions import Exchange
from barnabee.understanding.ellipsis import LastCommand, find_last_command, resolve_references
from barnabee.understanding.interfaces import Area, Entity, Home


def make_last(text: str, *names: str, area: str | None = None) -> LastCommand:
    return LastCommand(text, names, area, text)


LIGHT = make_last("turn on the kitchen light", "Kitchen Light", area="Kitchen")
SWITCHED = replace(LIGHT, is_undoable=True)
LIGHTS = make_last("turn off all the lights", "A", "B", "C", "D", "E")
TWO = make_last("movie night", "Lamp", "TV")
TIMER = make_last("set a timer for ten minutes")
WEATHER = make_last("what's the weather today")
LIST = make_last("add flour to the shopping list")
NOTE = make_last("remember that the gate code is 1234")
LOCK = make_last("is the front door locked", "Front Door")
BRIGHTER = make_last("make the kitchen light brighter", "Kitchen Light")
WARM = make_last("how warm is it in the bedroom")


@pytest.mark.parametrize(
    ("last", "said", "meant"),
    [
        (LIGHT, "turn it off again", "turn the Kitchen Light off"),
        (LIGHT, "turn it back on", "turn the Kitchen Light on"),
        (LIGHT, "switch that off", "switch the Kitchen Light off"),
        (LIGHT, "off", "turn off the Kitchen Light"),
        (LIGHT, "turn off", "turn off the Kitchen Light"),
        (LIGHT, "and off", "turn off the kitchen light"),
        (LIGHT, "dim it to 30 percent", "dim the Kitchen Light to 30 percent"),
        (LIGHT, "make it blue", "make the Kitchen Light blue"),
        (LIGHT, "is it on", "is the Kitchen Light on"),
        (LIGHT, "is it on now", "is the Kitchen Light on"),
        (LIST, "and sugar", "add sugar to the shopping list"),
        (LIGHT, "brighter", "make the Kitchen Light brighter"),
        (LIGHT, "turn on the fan there", "turn on the fan in the Kitchen"),
        (LIGHT, "do that again", "turn on the kitchen light"),
        (LIGHT, "and the bedroom", "turn on the bedroom light"),
        (LIGHT, "and bedroom", "turn on the bedroom light"),
        (LIGHT, "and the counterlight", "turn on the counterlight"),
        (LIGHT, "the bedroom one", "turn on the bedroom light"),
        (LIGHT, "the bedroom too", "turn on the bedroom light"),
        (LIGHT, "what about the hall light", "turn on the hall light"),
        (LIGHT, "no, the bedroom", "turn on the bedroom light"),
        (LIGHT, "not that one, the hall light", "turn on the hall light"),
        (LIGHT, "no no not the kitchen, the bedroom", "turn on the bedroom light"),
        (LIGHT, "no, turn on the hall light", "turn on the hall light"),
        (LIGHTS, "turn them on again", "turn all the lights on"),
        (TWO, "turn them off", "turn the Lamp and the TV off"),
        (TIMER, "what about 15 minutes", "set a timer for 15 minutes"),
        (TIMER, "and a timer for five minutes", "a timer for five minutes"),
        (TIMER, "cancel it", "cancel the timer"),
        (
            TIMER,
            "make that 20 minutes",
            "cancel the ten minute timer and set a timer for 20 minutes",
        ),
        (
            TIMER,
            "no wait, 20 minutes",
            "cancel the ten minute timer and set a timer for 20 minutes",
        ),
        (
            make_last("set a rice timer for nine minutes"),
            "no, twelve minutes",
            "cancel the rice timer and set a rice timer for twelve minutes",
        ),
        (
            make_last("set an alarm for 7 am tomorrow"),
            "sorry, 8 am",
            "cancel the alarm for 7 am tomorrow and set an alarm for 8 am tomorrow",
        ),
        (
            make_last("remind me to call mum at 5"),
            "make it 6",
            "cancel the reminder to call mum and remind me to call mum at 6",
        ),
        (TIMER, "cancel them all", "cancel all timers"),
        (SWITCHED, "no, the bedroom", "undo that and turn on the bedroom light"),
        (SWITCHED, "no wait, the hall light", "undo that and turn on the hall light"),
        (SWITCHED, "I meant the hall light", "undo that and turn on the hall light"),
        (SWITCHED, "and the hall light", "turn on the hall light"),
        (SWITCHED, "what about the hall light", "turn on the hall light"),
        (SWITCHED, "no, off", "turn off the kitchen light"),
        (
            replace(SWITCHED, text="turn on the light in the kitchen"),
            "no, in the hall",
            "undo that and turn on the light in the hall",
        ),
        (make_last("wake me up at seven"), "cancel that", "cancel the alarm"),
        (make_last("remind me to call mum"), "cancel it", "cancel the reminder"),
        (LIST, "undo that", "remove flour from the shopping list"),
        (LIGHT, "cancel that", "undo that"),
        (NOTE, "undo that", "forget that"),
        (NOTE, "no wait 5678", "remember that the gate code is 5678"),
        (NOTE, "no, the gate code is 5678", "the gate code is 5678"),
        (LIST, "no, not eggs, butter", "no, not eggs, butter"),
        (WEATHER, "and tomorrow", "what's the weather tomorrow"),
        (WEATHER, "what about the weekend", "what's the weather this weekend"),
        (LOCK, "and the back door", "is the back door locked"),
        (LOCK, "lock it", "lock the Front Door"),
        (BRIGHTER, "a bit more", "make the kitchen light brighter"),
        (
            make_last("dim the kitchen light", "Kitchen Light"),
            "more",
            "make the Kitchen Light darker",
        ),
        (WARM, "and in the kitchen", "how warm is it in the kitchen"),
        (WARM, "and the kitchen", "how warm is it in the kitchen"),
    ],
)
def test_what_is_left_out_comes_from_the_last_command(
    last: LastCommand, said: str, meant: str
) -> None:
    assert resolve_references(said, last) == meant


@pytest.mark.parametrize(
    "said",
    [
        "what time is it",
        "is it raining",
        "make it warmer in here",
        "switch it off in the bedroom",
        "louder",
        "stop it",
        "no",
        "no thanks",
        "no problem",
        "thanks",
        "nice one",
        "the other one",
        "what about you",
        "how about a joke",
    ],
)
def test_a_complete_sentence_stays_the_same(said: str) -> None:
    assert resolve_references(said, LIGHT) == said


def test_without_a_last_command_nothing_is_completed() -> None:
    assert resolve_references("turn it off", None) == "turn it off"


def test_the_last_things_are_found_behind_other_talk_but_not_far_back() -> None:
    context = {"text": "turn on the lamp", "targets": ["light.lamp", "light.gone"]}
    exchange = Exchange("turn on the lamp", "Okay.", "home_control", context)
    thanks = Exchange("thanks", "You're welcome.", "thanks")
    time = Exchange("what time is it", "Noon.", "time", {"text": "what time is it"})
    lamp = Entity("light.lamp", ("Reading Lamp",), "study", "on")
    home = Home({"light.lamp": lamp}, {"study": Area("study", ("Study",))})
    named = ("Reading Lamp",)
    expected = LastCommand("turn on the lamp", named, "Study", "turn on the lamp")
    assert find_last_command([exchange, thanks], home) == expected
    expected = LastCommand("what time is it", named, "Study", "turn on the lamp")
    assert find_last_command([exchange, time], home) == expected
    assert find_last_command([exchange, *[thanks] * 4], home) is None
    assert find_last_command([exchange], None) == make_last("turn on the lamp")
