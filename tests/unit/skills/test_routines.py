"""Routines of system.toml, and scenes and scripts of Home Assistant."""

from __future__ import annotations

import pytest

from barnabee.core.errors import DependencyDown
from barnabee.core.schema import RoutineConfig
from barnabee.skills import routines
from barnabee.understanding.interfaces import HomeAnswer
from support.home import FakeHome
from support.skills import SkillDialogue

READING = RoutineConfig.model_validate(
    {
        "sentences": ["reading time", "let's read [a book]"],
        "say": "Enjoy your book.",
        "actions": [
            {
                "service": "light.turn_on",
                "entities": ["light.sofa"],
                "data": {"brightness_pct": 70},
            },
            {"service": "switch.turn_off", "entities": ["switch.tv"]},
        ],
    }
)


@pytest.fixture
def home() -> FakeHome:
    home = FakeHome()
    home.add("light.sofa", "Sofa", supported_color_modes=["brightness"])
    home.add("switch.tv", "TV", "on")
    home.add("scene.good_night", "Good night", "unknown", entity_id=["light.sofa", "light.attic"])
    home.add("light.attic", "Attic light", "unavailable")
    home.add("script.leave_home", "Leave home", "off")
    return home


@pytest.fixture
def dialogue(home: FakeHome) -> SkillDialogue:
    own = routines.make_routine_skill({"reading": READING})
    return SkillDialogue([own, routines.SKILL], home)


@pytest.mark.parametrize("sentence", ["reading time", "let's read", "Let's read a book."])
async def test_a_routine_of_the_system_file_runs_all_its_actions(
    dialogue: SkillDialogue, home: FakeHome, sentence: str
) -> None:
    answer = await dialogue.say(sentence)
    assert answer is not None
    assert (answer.text, answer.acted) == ("Enjoy your book.", True)
    assert (home.state("light.sofa"), home.state("switch.tv")) == ("on", "off")


async def test_a_refused_action_is_told_and_the_others_are_done(
    dialogue: SkillDialogue, home: FakeHome
) -> None:
    home.refusals["light.sofa"] = "the sofa lamp does not answer"
    answer = await dialogue.say("reading time")
    assert answer is not None
    assert answer.text == "I did only a part of it: the sofa lamp does not answer."
    assert answer.acted
    assert home.state("switch.tv") == "off"


async def test_home_assistant_that_is_away_is_an_error(
    dialogue: SkillDialogue, home: FakeHome
) -> None:
    home.error = DependencyDown(dependency="home_assistant", reason="gone")
    with pytest.raises(DependencyDown):
        await dialogue.say("reading time")


@pytest.mark.parametrize(
    ("sentence", "called"),
    [
        ("good night", "scene.good_night"),
        ("it's bedtime", "scene.good_night"),
        ("we're leaving", "script.leave_home"),
        ("start leave home", "script.leave_home"),
        ("run the good night scene", "scene.good_night"),
    ],
)
async def test_scenes_and_scripts_run_by_what_people_say(
    dialogue: SkillDialogue, home: FakeHome, sentence: str, called: str
) -> None:
    answer = await dialogue.say(sentence)
    assert answer is not None
    assert answer.acted
    assert [call.entity_ids for call in home.calls] == [(called,)]


async def test_devices_of_a_scene_that_are_unavailable_are_named(dialogue: SkillDialogue) -> None:
    answer = await dialogue.say("good night")
    assert answer is not None
    assert answer.text == "Good night. The good night scene is on. Attic light did not answer."


@pytest.mark.parametrize("sentence", ["movie night", "good morning", "start a fire"])
async def test_without_such_a_scene_the_sentence_is_left_to_others(
    dialogue: SkillDialogue, home: FakeHome, sentence: str
) -> None:
    assert await dialogue.say(sentence) is None
    assert home.calls == []


async def test_coming_home_is_greeted_and_nothing_is_claimed(
    dialogue: SkillDialogue, home: FakeHome
) -> None:
    answer = await dialogue.say("I'm home")
    assert answer is not None
    assert (answer.text, answer.acted, home.calls) == ("Welcome home.", False, [])


async def test_what_the_family_taught_home_assistant_goes_before_a_greeting(
    dialogue: SkillDialogue, home: FakeHome
) -> None:
    home.answer = HomeAnswer("action_done", "The fire is lit")
    answer = await dialogue.say("good morning")
    assert answer is not None
    assert (answer.text, answer.acted) == ("The fire is lit", True)
