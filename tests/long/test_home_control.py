"""Home control with a real Home Assistant of either release: from the sentence to the state."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from barnabee.clients.home_assistant import HomeAssistant
from barnabee.core.errors import DependencyDown, HomeRefused
from barnabee.understanding.home_controller import HomeController
from barnabee.understanding.interfaces import Home
from support.demo_home import BOTH_RELEASES, DemoHomeProcess, provide_venv
from support.home_sentences import HomeConversation
from support.wait import LAST_RESORT_S, eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

PACKAGE = Path(__file__).parents[1] / "data/family_home.yaml"
FIRST_RELEASE_WITH_FLOORS = 2025
AWAY = "but the attic light and the terrace light are not available."


@dataclass
class FamilyHome:
    """A running Home Assistant and our client of it."""

    process: DemoHomeProcess
    client: HomeAssistant
    controller: HomeController

    def talk(self, room: str | None = "kitchen") -> HomeConversation:
        return HomeConversation(self.controller, room)

    async def state(self, entity_id: str) -> str:
        """Return the state that Home Assistant has, not what our client knows of it."""
        return str((await self.process.state(entity_id))["state"])

    def knows(self, entity_id: str, state: str) -> Callable[[], Awaitable[bool]]:
        """Return the question whether our client has heard of `state`."""

        async def is_known() -> bool:
            return (await self.client.read_home()).entities[entity_id].state == state

        return is_known

    async def attribute(self, entity_id: str, name: str) -> object:
        return (await self.process.state(entity_id))["attributes"].get(name)


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=BOTH_RELEASES)
async def family(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[FamilyHome]:
    venv = await provide_venv(other=request.param)
    process = DemoHomeProcess(tmp_path_factory.mktemp("family"), venv=venv, packages=(PACKAGE,))
    await process.start()
    areas = {one["name"]: one["area_id"] for one in await process.call("config/area_registry/list")}
    for entity_id, area in (("light.reading_1", "Bedroom"), ("light.reading_2", "Office")):
        await process.call(
            "config/entity_registry/update", entity_id=entity_id, area_id=areas[area]
        )
    client = HomeAssistant(process.home.url, lambda: process.token, timeout_s=60)
    client.start()

    async def is_known() -> bool:
        try:
            home = await client.read_home()
        except DependencyDown:
            return False
        return {"light.emmas_lamp", "light.reading_2", "person.mum"} <= home.entities.keys()

    await eventually(is_known)
    yield FamilyHome(process, client, HomeController(client, settle_s=LAST_RESORT_S))
    await client.aclose()
    process.stop()


# ---- the client ---------------------------------------------------------------------------------


async def test_home_has_rooms_aliases_and_states(family: FamilyHome) -> None:
    home = await family.client.read_home()
    lounge = next(area for area in home.areas.values() if "lounge" in area.names)
    television = home.entities["media_player.television"]
    assert television.area_id == lounge.area_id
    assert set(television.names) == {"Television", "TV", "telly"}
    assert home.entities["light.attic"].state == "unavailable"
    assert (home.time_zone, home.is_metric) == ("Europe/Amsterdam", True)
    assert "input_boolean.emmas_lamp" not in home.entities
    has_floors = family.process.year >= FIRST_RELEASE_WITH_FLOORS
    assert {"downstairs" in names for names in home.floors.values()} == (
        {True, False} if has_floors else set()
    )


async def test_changes_of_states_and_names_arrive(family: FamilyHome) -> None:
    await family.process.call_service("light/turn_on", "light.cafe")

    def is_on(home: Home) -> bool:
        return home.entities["light.cafe"].state == "on"

    assert is_on(await family.client.wait_until(is_on, timeout_s=60))
    await family.process.call(
        "config/entity_registry/update", entity_id="light.cafe", aliases=["bistro light"]
    )

    async def is_renamed() -> bool:
        return "bistro light" in (await family.client.read_home()).entities["light.cafe"].names

    await eventually(is_renamed)
    assert await family.talk().hear("turn off the bistro light") == "The café-light is off."


async def test_service_has_a_response_and_a_refusal_its_reason(family: FamilyHome) -> None:
    with pytest.raises(HomeRefused, match="does not answer"):
        await family.client.call_service("switch.turn_on", ["switch.dishwasher"])
    forecasts = await family.client.call_service(
        "weather.get_forecasts", ["weather.home"], {"type": "daily"}, has_response=True
    )
    assert forecasts["weather.home"]["forecast"][0]["condition"] == "partlycloudy"


# ---- what was reported as wrong -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "reply"),
    [
        ("make the kitchen light blue", "Sorry, the kitchen light has no colors."),
        ("set the kitchen light to 40%", "Sorry, the kitchen light can't be dimmed."),
        ("turn on the attic light", "Sorry, the attic light is not available."),
        ("turn on the broken light", "Sorry, the broken light reported an error."),
        (
            "turn on the dishwasher",
            "Sorry, the dishwasher refused: the dishwasher does not answer.",
        ),
        ("set the thermostat to 80", "Sorry, the thermostat takes 5 to 30 degrees only."),
    ],
)
async def test_done_is_not_said_when_nothing_was_done(
    family: FamilyHome, text: str, reply: str
) -> None:
    assert await family.talk().hear(text) == reply


async def test_slow_device_is_not_said_to_be_on(family: FamilyHome) -> None:
    talk = HomeConversation(HomeController(family.client, settle_s=0), "kitchen")
    assert await talk.hear("turn on the slow light") == "Sorry, the slow light did not react yet."


async def test_undo_restores_the_brightness(family: FamilyHome) -> None:
    talk = family.talk()
    assert await talk.hear("undo that") == "There is nothing that I could undo."
    await talk.say("Dim the living room lamp to thirty percent")
    assert await family.attribute("light.living_room_lamp", "brightness") == 76
    await talk.say("make the living room lamp a bit brighter")
    assert await family.attribute("light.living_room_lamp", "brightness") == 102
    await talk.say("undo that")
    assert await family.attribute("light.living_room_lamp", "brightness") == 76


@pytest.mark.parametrize(
    ("text", "reply"),
    [
        ("how cold is it outside?", "It is 12.5 degrees outside."),
        ("did I leave any lights on?", "The hall light is on."),
        ("is the hall light on", "Yes, the hall light is on."),
        ("which windows are open", "The bathroom window is open."),
        ("is the front door locked", "Yes, the front door is locked."),
        ("how warm is it in the office", "It is 21.5 degrees in the office."),
        ("where is mum", "Mum is at home."),
    ],
)
async def test_question_is_answered(family: FamilyHome, text: str, reply: str) -> None:
    talk = family.talk()
    await talk.say("turn off all the lights")
    await talk.say("turn on the hall light")
    assert await talk.hear(text) == reply


async def test_unknown_device_is_not_guessed(family: FamilyHome) -> None:
    assert await family.talk().say("turn on the disco ball") is None
    assert await family.talk().say("turn on the kitchen light no wait never mind") is None


async def test_all_lights_go_off(family: FamilyHome) -> None:
    talk = family.talk()
    await family.process.call_service("light/turn_on", "light.emmas_lamp")
    await eventually(family.knows("light.emmas_lamp", "on"))
    assert await talk.hear("turn off all the lights") == f"All the other lights are off, {AWAY}"
    assert await family.state("light.emmas_lamp") == "off"


@pytest.mark.parametrize("room", ["kitchen", "Kitchen"])
async def test_lights_of_the_room_go_on(family: FamilyHome, room: str) -> None:
    talk = family.talk(room)
    await talk.say("turn off all the lights")
    assert await talk.hear("lights on") == "The lights in the kitchen are on."
    states = [await family.state(f"light.{name}") for name in ("kitchen_light", "hall_light")]
    assert states == ["on", "off"]


@pytest.mark.parametrize(
    ("said", "entity_id", "name"),
    [
        ("Emmas lamp", "light.emmas_lamp", "Emma's lamp"),
        ("the Tom and Jerry lamp", "light.tom_and_jerry", "The Tom & Jerry lamp"),
        ("lamp two", "light.lamp_2", "Lamp 2"),
        ("the kuchenlampe", "light.kuchenlampe", "The küchenlampe"),
        ("the cafe light", "light.cafe", "The café-light"),
        ("the kitchen light", "light.kitchen_light", "The kitchen light"),
    ],
)
async def test_name_is_known_however_it_is_written(
    family: FamilyHome, said: str, entity_id: str, name: str
) -> None:
    talk = family.talk()
    for state in ("on", "off"):
        assert await talk.hear(f"turn {state} {said}") == f"{name} is {state}."
        assert await family.state(entity_id) == state


# ---- the rest -----------------------------------------------------------------------------------


async def test_lock_and_garage_door_move_after_a_yes_only(family: FamilyHome) -> None:
    talk = family.talk()
    assert await talk.hear("unlock the front door") == "Do you want me to unlock the front door?"
    assert await talk.hear("no") == "Okay, I won't."
    assert await family.state("lock.front_door") == "locked"
    await talk.say("open the garage door")
    assert await talk.hear("yes") == "The garage door is open."
    assert await family.state("cover.garage_door") == "open"
    assert await talk.hear("undo that") == "Do you want me to close the garage door?"
    assert await talk.hear("yes") == "The garage door is closed."


async def test_which_of_two_lamps_of_one_name_is_asked(family: FamilyHome) -> None:
    talk = family.talk()
    asked = "Which one: the night lamp in the bedroom or the night lamp in the office?"
    assert await talk.hear("turn on the night lamp") == asked
    assert await talk.hear("the one in the office") == "The night lamp is on."
    states = [await family.state(one) for one in ("light.reading_1", "light.reading_2")]
    assert states == ["off", "on"]
    await talk.say("turn off the night lamp")
    await talk.say("both")
    assert await family.state("light.reading_2") == "off"


@pytest.mark.parametrize(
    ("text", "reply", "entity_id", "state"),
    [
        (
            "open the living room blinds halfway",
            *("The living room blinds are at 50 percent.", "cover.living_room_blinds", "open"),
        ),
        (
            "close the bedroom blinds",
            *("The bedroom blinds are closed.", "cover.bedroom_blinds", "closed"),
        ),
        (
            "start the vacuum",
            *("The vacuum cleaner is cleaning.", "vacuum.vacuum_cleaner", "cleaning"),
        ),
        ("turn on the telly", "The television is on.", "media_player.television", "playing"),
        (
            "set the bathroom fan to 50 percent",
            *("The bathroom fan is at 50 percent.", "fan.bathroom_fan", "on"),
        ),
        ("make the mood light red", "The colour strip is red.", "light.colour_strip", "on"),
        (
            "set the heating to 21.5",
            *("The thermostat is set to 21.5 degrees.", "climate.thermostat", "heat"),
        ),
        ("movie night", "Okay, Movie night.", "light.living_room_lamp", "on"),
    ],
)
async def test_device_does_what_is_asked(
    family: FamilyHome, text: str, reply: str, entity_id: str, state: str
) -> None:
    assert await family.talk().hear(text) == reply
    assert await family.state(entity_id) == state


async def test_home_is_known_again_after_a_restart(family: FamilyHome) -> None:
    family.process.stop()
    await family.process.start()

    async def answers() -> bool:
        try:
            return await family.talk().hear("turn on the hall light") == "The hall light is on."
        except DependencyDown:
            return False

    await eventually(answers)
    assert await family.state("light.hall_light") == "on"
