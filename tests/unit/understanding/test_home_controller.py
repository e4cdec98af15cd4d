"""Home control on a fake home: what is done, asked, refused, verified and undone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from barnabee.core.errors import DependencyDown
from barnabee.understanding.home_controller import HomeController
from barnabee.understanding.interfaces import Home, HomeAnswer
from support.home import FakeHome, ServiceCall, make_demo_home
from support.home_sentences import HomeConversation

KITCHEN = "light.kitchen_light"


class ObservedHome(FakeHome):
    """A home that settles only while a change is waited for."""

    settled: dict[str, str]

    async def wait_until(self, is_reached: Callable[[Home], bool], timeout_s: float) -> Home:
        for entity_id, state in self.settled.items():
            self.entities[entity_id] = replace(self.entities[entity_id], state=state)
        return await self.read_home()


@pytest.fixture
def home() -> FakeHome:
    return make_demo_home()


@pytest.fixture
def talk(home: FakeHome) -> HomeConversation:
    return HomeConversation(HomeController(home, settle_s=60))


def answer_done(*entity_ids: str) -> HomeAnswer:
    actions = tuple({"type": "entity", "name": one, "id": one} for one in entity_ids)
    return HomeAnswer("action_done", "Turned on the light", None, actions)


async def test_light_is_switched_and_its_state_told(home: FakeHome, talk: HomeConversation) -> None:
    reply = await talk.say("turn on the kitchen light")
    assert reply is not None
    assert reply.text == "The kitchen light is on."
    assert (reply.acted, reply.code, reply.targets) == (True, None, (KITCHEN,))
    assert reply.actions == ({"type": "entity", "name": "Kitchen light", "id": KITCHEN},)
    assert home.calls == [ServiceCall("light.turn_on", (KITCHEN,), {})]
    assert await talk.hear("is the kitchen light on?") == "Yes, the kitchen light is on."


# ---- Home Assistant's conversation agent -------------------------------------------------------


async def test_agent_gets_the_sentence_first_with_room(
    home: FakeHome, talk: HomeConversation
) -> None:
    def switch(_text: str) -> HomeAnswer:
        home.entities[KITCHEN] = replace(home.entities[KITCHEN], state="on")
        return answer_done(KITCHEN)

    home.answer = switch
    assert await talk.hear("turn on the kitchen light") == "The kitchen light is on."
    assert (home.sentences, home.rooms, home.calls) == (
        ["turn on the kitchen light"],
        ["kitchen"],
        [],
    )


async def test_what_the_agent_did_not_do_is_done(home: FakeHome, talk: HomeConversation) -> None:
    home.answer = answer_done(KITCHEN)  # it says so, and the state is another
    assert await talk.hear("turn on the kitchen light") == "The kitchen light is on."
    assert home.called("light.turn_on")


async def test_sentence_that_the_family_taught_is_answered_by_the_agent(
    home: FakeHome, talk: HomeConversation
) -> None:
    home.answer = HomeAnswer("action_done", "Sesame opens")
    assert await talk.hear("open sesame") == "Sesame opens"
    assert await talk.hear("turn on the kitchen light") == "Sesame opens"
    assert home.calls == []


@pytest.mark.parametrize("code", ["no_intent_match", "no_valid_targets", "failed_to_handle"])
async def test_guess_of_the_agent_is_not_spoken(
    home: FakeHome, talk: HomeConversation, code: str
) -> None:
    home.answer = HomeAnswer("error", "Sorry, I am not aware of any device called it", code)
    assert await talk.say("turn on the disco ball") is None
    assert await talk.hear("how cold is it outside?") == "It is 12.5 degrees outside."


@pytest.mark.parametrize("text", ["let mum in and unlock it", "front door should be open now"])
async def test_agent_gets_no_sentence_that_may_open_a_door(
    home: FakeHome, talk: HomeConversation, text: str
) -> None:
    home.answer = answer_done("lock.front_door")
    assert await talk.say(text) is None
    assert home.sentences == []


async def test_agent_may_not_move_locks_and_gates(home: FakeHome) -> None:
    allowed = list[str]()

    class RecordingHome(FakeHome):
        async def converse(self, text: str, **options: Any) -> HomeAnswer:
            allowed.extend(options["only"])
            return await super().converse(text, **options)

    await HomeConversation(HomeController(RecordingHome(**vars(home)))).say("let there be peace")
    assert KITCHEN in allowed
    assert not {"lock.front_door", "cover.garage_door"} & set(allowed)


# ---- rooms and groups --------------------------------------------------------------------------


async def test_lights_without_a_room_are_those_of_the_microphone(
    home: FakeHome, talk: HomeConversation
) -> None:
    assert await talk.hear("lights on") == "The lights in the kitchen are on."
    assert home.called("light.turn_on")[0].entity_ids == (KITCHEN, "light.counter_light")
    assert home.sentences == []


async def test_room_is_asked_for_where_it_is_not_known(home: FakeHome) -> None:
    talk = HomeConversation(HomeController(home), room=None)
    assert await talk.hear("lights on") == "In which room?"
    assert await talk.hear("in the hall") == "The hall light is on."


async def test_all_lights_are_switched_and_the_unavailable_one_named(
    home: FakeHome, talk: HomeConversation
) -> None:
    await talk.say("turn on all the lights")
    wrong = "but the terrace light is not available"
    assert await talk.hear("turn off all the lights") == f"All the other lights are off, {wrong}."
    states = {one.state for one in home.entities.values() if one.domain == "light"}
    assert states == {"off", "unavailable"}
    calls = len(home.calls)
    reply = await talk.hear("turn off all the lights")
    assert reply == f"All the other lights are already off, {wrong}."
    assert len(home.calls) == calls


async def test_broken_light_does_not_keep_the_others_from_changing(
    home: FakeHome, talk: HomeConversation
) -> None:
    home.refusals["light.counter_light"] = "no answer"
    reply = await talk.hear("lights on")
    assert reply == "The kitchen light is on, but the counter light refused: no answer."
    assert home.state(KITCHEN) == "on"


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("turn off everything in the kitchen", "in the kitchen"),
        ("everything off upstairs", "upstairs"),
    ],
)
async def test_everything_in_a_place_is_switched_off(
    home: FakeHome, talk: HomeConversation, text: str, place: str
) -> None:
    for entity in list(home.entities.values()):
        if entity.domain in {"light", "switch", "fan"} and entity.is_available:
            home.entities[entity.entity_id] = replace(entity, state="on")
    assert await talk.hear(text) == f"Everything {place} is off."
    assert home.state("light.hall_light") == "on"
    assert home.state("lock.front_door") == "locked"


# ---- what cannot be done -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "reply"),
    [
        ("make the kitchen light blue", "Sorry, the kitchen light has no colors."),
        ("set the kitchen light to 40%", "Sorry, the kitchen light can't be dimmed."),
        ("turn on the terrace light", "Sorry, the terrace light is not available."),
    ],
)
async def test_impossible_is_refused_with_its_reason(
    home: FakeHome, talk: HomeConversation, text: str, reply: str
) -> None:
    answered = await talk.say(text)
    assert answered is not None
    assert (answered.text, answered.code, answered.acted) == (reply, "failed_to_handle", False)
    assert (home.calls, home.sentences) == ([], [])


async def test_refusal_of_home_assistant_is_told(home: FakeHome, talk: HomeConversation) -> None:
    home.refusals["switch.dishwasher"] = "the door is open"
    reply = await talk.hear("turn on the dishwasher")
    assert reply == "Sorry, the dishwasher refused: the door is open."
    home.refusals["switch.dishwasher"] = "Service input_boolean.none was not found"
    assert await talk.hear("turn on the dishwasher") == "Sorry, the dishwasher reported an error."


async def test_device_that_stays_as_it_was_is_never_said_to_be_done(
    home: FakeHome, talk: HomeConversation
) -> None:
    home.stuck.add(KITCHEN)
    reply = await talk.say("turn on the kitchen light")
    assert reply is not None
    assert reply.text == "Sorry, the kitchen light did not react yet."
    assert (reply.code, reply.acted) == ("failed_to_handle", True)


async def test_slow_device_is_waited_for() -> None:
    home = ObservedHome(**vars(make_demo_home()))
    home.stuck.add(KITCHEN)
    home.settled = {KITCHEN: "on"}
    talk = HomeConversation(HomeController(home))
    assert await talk.hear("turn on the kitchen light") == "The kitchen light is on."


async def test_lost_connection_is_raised(home: FakeHome, talk: HomeConversation) -> None:
    home.error = DependencyDown(dependency="home_assistant", reason="gone", sent=False)
    with pytest.raises(DependencyDown):
        await talk.say("turn on the kitchen light")


# ---- locks and doors ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "question", "service"),
    [
        ("unlock the front door", "Do you want me to unlock the front door?", "lock.unlock"),
        ("open the garage door", "Do you want me to open the garage door?", "cover.open_cover"),
        ("unlock all the doors", "Do you want me to unlock the front door?", "lock.unlock"),
    ],
)
async def test_locks_and_doors_move_after_a_yes_only(
    home: FakeHome, talk: HomeConversation, text: str, question: str, service: str
) -> None:
    assert await talk.hear(text) == question
    assert await talk.hear("no") == "Okay, I won't."
    assert await talk.hear(text) == question
    assert (home.calls, home.sentences) == ([], [])
    assert (await talk.hear("yes please")).endswith((" unlocked.", " open."))
    assert [call.service for call in home.calls] == [service]


async def test_yes_after_two_minutes_opens_nothing(home: FakeHome, talk: HomeConversation) -> None:
    await talk.say("unlock the front door")
    talk.now += timedelta(minutes=3)
    await talk.say("yes")
    assert home.state("lock.front_door") == "locked"


async def test_another_sentence_is_no_answer(home: FakeHome, talk: HomeConversation) -> None:
    await talk.say("unlock the front door")
    assert await talk.hear("turn on the kitchen light") == "The kitchen light is on."
    await talk.say("yes")
    assert home.state("lock.front_door") == "locked"


# ---- two of one name ---------------------------------------------------------------------------


@pytest.fixture
def lamps(home: FakeHome) -> FakeHome:
    home.add("light.lamp_a", "Night lamp", "off", area="bedroom")
    home.add("light.lamp_b", "Night lamp", "off", area="office")
    return home


@pytest.mark.parametrize(
    ("answer", "reply", "is_on"),
    [
        ("the one in the office", "The night lamp is on.", ["light.lamp_b"]),
        ("the first", "The night lamp is on.", ["light.lamp_a"]),
        (
            "both",
            "The night lamp in the bedroom and the night lamp in the office are on.",
            ["light.lamp_a", "light.lamp_b"],
        ),
        ("never mind", "Okay, I won't.", []),
    ],
)
async def test_which_of_two_is_asked(
    lamps: FakeHome, talk: HomeConversation, answer: str, reply: str, is_on: list[str]
) -> None:
    asked = await talk.hear("turn on the night lamp")
    assert asked == "Which one: the night lamp in the bedroom or the night lamp in the office?"
    assert await talk.hear(answer) == reply
    assert [one for one in ("light.lamp_a", "light.lamp_b") if lamps.state(one) == "on"] == is_on


@pytest.mark.parametrize(
    ("room", "text"),
    [("office", "turn on the night lamp"), ("kitchen", "turn on the night lamp in the office")],
)
async def test_room_decides_between_two_of_one_name(lamps: FakeHome, room: str, text: str) -> None:
    talk = HomeConversation(HomeController(lamps), room=room)
    assert await talk.hear(text) == "The night lamp is on."
    assert (lamps.state("light.lamp_a"), lamps.state("light.lamp_b")) == ("off", "on")


# ---- levels ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "reply", "entity_id", "attribute", "value"),
    [
        (
            "Dim the living room lamp to thirty percent",
            *("The living room lamp is at 30 percent.", "light.living_room_lamp"),
            *("brightness", 76),
        ),
        (
            "make the living room lamp a lot brighter",
            *("The living room lamp is at 40 percent.", "light.living_room_lamp"),
            *("brightness", 102),
        ),
        (
            "make the mood light blue",
            *("The colour strip is blue.", "light.colour_strip", "color_name", "blue"),
        ),
        (
            "set the heating to 22.5",
            *("The thermostat is set to 22.5 degrees.", "climate.thermostat"),
            *("temperature", 22.5),
        ),
        (
            "a bit warmer",
            *("The thermostat is set to 20.5 degrees.", "climate.thermostat"),
            *("temperature", 20.5),
        ),
        (
            "open the living room blinds halfway",
            *("The living room blinds are at 50 percent.", "cover.living_room_blinds"),
            *("current_position", 50),
        ),
    ],
)
async def test_level_is_set(
    home: FakeHome,
    talk: HomeConversation,
    text: str,
    reply: str,
    entity_id: str,
    attribute: str,
    value: object,
) -> None:
    assert await talk.hear(text) == reply
    assert home.entities[entity_id].attributes[attribute] == value


async def test_temperature_outside_of_the_limits_is_refused(
    home: FakeHome, talk: HomeConversation
) -> None:
    thermostat = home.entities["climate.thermostat"]
    limits = {**thermostat.attributes, "min_temp": 5, "max_temp": 30}
    home.entities["climate.thermostat"] = replace(thermostat, attributes=limits)
    reply = await talk.hear("set the thermostat to 80")
    assert reply == "Sorry, the thermostat takes 5 to 30 degrees only."


# ---- questions ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "reply"),
    [
        ("did I leave any lights on?", "The hall light is on."),
        ("how many lights are on", "One light is on."),
        ("are all the lights off", "No, the hall light is on."),
        ("is the front door locked", "Yes, the front door is locked."),
        ("are all the doors locked", "Yes, all locks are locked."),
        ("which windows are open", "The office window is open."),
        ("is anything on", "The hall light is on."),
        ("how cold is it outside", "It is 12.5 degrees outside."),
        ("how warm is it in the office", "It is 21.5 degrees in the office."),
        ("how humid is it in the bathroom", "It is 55 percent in the bathroom."),
        ("is mum home", "Yes, Mum is at home."),
        ("where is dad", "Dad is away."),
        (
            "what's the thermostat set to",
            "The thermostat is set to 20 degrees, and it is 20.5 degrees now.",
        ),
        ("is the terrace light on", "I can't tell, the terrace light is not available."),
        ("how warm is it in the garage", "I don't know the temperature in the garage."),
    ],
)
async def test_question_is_answered_from_the_states(
    home: FakeHome, talk: HomeConversation, text: str, reply: str
) -> None:
    home.entities["light.hall_light"] = replace(home.entities["light.hall_light"], state="on")
    sensor = home.entities["sensor.office_temperature"]
    attributes = {**sensor.attributes, "device_class": "temperature"}
    home.entities[sensor.entity_id] = replace(sensor, attributes=attributes)
    home.add("binary_sensor.office", "Office window", "on", area="office", device_class="window")
    home.add("binary_sensor.bath", "Bath window", "off", area="bathroom", device_class="window")
    assert await talk.hear(text) == reply
    assert home.calls == []


# ---- undo --------------------------------------------------------------------------------------


async def test_undo_restores_the_states_before(home: FakeHome, talk: HomeConversation) -> None:
    assert await talk.hear("undo that") == "There is nothing that I could undo."
    await talk.say("dim the living room lamp to 30 percent")
    await talk.say("dim the living room lamp to 80 percent")
    assert await talk.hear("undo that") == "The living room lamp is on."
    assert home.entities["light.living_room_lamp"].attributes["brightness"] == 76


async def test_undo_of_a_group_restores_each_light(home: FakeHome, talk: HomeConversation) -> None:
    await talk.say("turn on the counter light")
    await talk.say("lights on")
    assert await talk.hear("put it back how it was") == "The kitchen light is off."
    assert home.state("light.counter_light") == "on"


async def test_undo_of_the_heating_names_it_once(home: FakeHome, talk: HomeConversation) -> None:
    await talk.say("set the heating to 22 degrees")
    assert await talk.hear("undo that") == "The thermostat is as before."
    assert home.entities["climate.thermostat"].attributes["temperature"] == 20


async def test_undo_of_a_lock_is_asked_about(home: FakeHome, talk: HomeConversation) -> None:
    await talk.say("unlock the front door")
    await talk.say("yes")
    assert await talk.hear("undo that") == "Do you want me to lock the front door?"
    assert await talk.hear("yes") == "The front door is locked."


async def test_undo_of_a_scene_restores_what_it_changed(
    home: FakeHome, talk: HomeConversation
) -> None:
    lamp = "light.living_room_lamp"
    home.entities["scene.movie_night"] = replace(
        home.entities["scene.movie_night"], attributes={"entity_id": [lamp]}
    )
    home.effects["scene.movie_night"] = {lamp: "on"}
    assert await talk.hear("movie night") == "Okay, Movie night."
    assert home.state(lamp) == "on"
    assert await talk.hear("undo that") == "The living room lamp is off."
