from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from barnabee.clients.home_assistant import (
    PAUSE_MOST_S,
    HomeAssistant,
    answer_of,
    pause,
    websocket_url,
)
from barnabee.core.errors import DependencyDown, SettingInvalid, TimedOut
from barnabee.testing.home_assistant import FakeHomeAssistant
from barnabee.understanding.interfaces import HomeAnswer
from support.wait import eventually

KITCHEN = {"type": "entity", "name": "Kitchen Light", "id": "light.kitchen_light"}


@pytest.fixture
async def house() -> AsyncIterator[FakeHomeAssistant]:
    fake = FakeHomeAssistant()
    await fake.start()
    yield fake
    await fake.stop()


@pytest.fixture
async def home(house: FakeHomeAssistant) -> AsyncIterator[HomeAssistant]:
    client = HomeAssistant(
        house.url, lambda: "home-token", timeout_s=1, pause_s=lambda failures: 0.01
    )
    client.start()
    await connected(client)
    yield client
    await client.aclose()


async def connected(client: HomeAssistant) -> None:
    async def ready() -> bool:
        try:
            await client.ready()
        except DependencyDown as error:
            raise AssertionError(str(error)) from error
        return True

    await eventually(ready, within_s=5, every_s=0.01)


async def lost(client: HomeAssistant) -> DependencyDown:
    async def away() -> DependencyDown | None:
        try:
            await client.ready()
        except DependencyDown as error:
            return error
        return None

    found = await eventually(away, within_s=5, every_s=0.01)
    assert found is not None
    return found


async def test_an_order_switches_the_light(home: HomeAssistant, house: FakeHomeAssistant) -> None:
    answer = await home.converse("turn on the kitchen light", conversation_id="c1")
    assert answer == HomeAnswer("action_done", "Turned on the light", None, (KITCHEN,))
    assert house.lights["kitchen light"] is True
    assert house.heard == [
        {
            "id": 1,
            "type": "conversation/process",
            "text": "turn on the kitchen light",
            "language": "en",
            "conversation_id": "c1",
        }
    ]


async def test_a_question_is_answered(home: HomeAssistant) -> None:
    assert await home.converse("is the hall light on") == HomeAnswer("query_answer", "Yes")


@pytest.mark.parametrize(
    ("said", "code"),
    [("sing a song", "no_intent_match"), ("turn on the moon", "no_valid_targets")],
)
async def test_what_the_house_does_not_know_has_its_code(
    home: HomeAssistant, said: str, code: str
) -> None:
    answer = await home.converse(said)
    assert (answer.kind, answer.code) == ("error", code)
    assert answer.speech.startswith("Sorry")


async def test_answers_find_their_question_when_many_are_asked_at_once(
    home: HomeAssistant,
) -> None:
    names = ["kitchen light", "hall light"] * 50
    answers = await asyncio.gather(*(home.converse(f"turn on {name}") for name in names))
    assert [answer.actions[0]["name"].lower() for answer in answers] == names


async def test_a_line_dropped_on_the_way_fails_at_once_and_says_it_was_sent(
    home: HomeAssistant, house: FakeHomeAssistant
) -> None:
    house.silent = True
    asked = asyncio.create_task(home.converse("turn on the kitchen light"))
    await eventually(lambda: _value(house.heard), within_s=2, every_s=0.01)
    await house.drop_all()
    with pytest.raises(DependencyDown) as caught:
        await asked
    assert caught.value.fields["sent"] is True


async def test_a_lost_line_is_built_again(home: HomeAssistant, house: FakeHomeAssistant) -> None:
    await house.drop_all()
    await eventually(lambda: _value(house.logins == 2), within_s=5, every_s=0.01)
    await connected(home)
    assert (await home.converse("turn on the kitchen light")).kind == "action_done"


async def test_a_house_that_went_away_and_came_back_is_found_again(
    home: HomeAssistant, house: FakeHomeAssistant
) -> None:
    await house.stop()
    error = await lost(home)
    with pytest.raises(DependencyDown) as caught:
        await home.converse("turn on the kitchen light")
    assert (error.fields["dependency"], caught.value.fields["sent"]) == ("home_assistant", False)
    await house.start()
    await connected(home)
    assert (await home.converse("is the hall light on")).speech == "Yes"


async def test_nonsense_on_the_line_is_passed_over(
    home: HomeAssistant, house: FakeHomeAssistant
) -> None:
    house.garbage = True
    with capture_logs() as lines:
        assert (await home.converse("is the hall light on")).speech == "Yes"
    assert [line["event"] for line in lines].count("home_assistant_garbage") == 4


async def test_silence_ends_in_a_timeout_and_the_line_goes_on(house: FakeHomeAssistant) -> None:
    home = HomeAssistant(house.url, lambda: "home-token", timeout_s=0.05)
    home.start()
    await connected(home)
    house.silent = True
    with pytest.raises(TimedOut):
        await home.converse("is the hall light on")
    house.silent = False
    assert (await home.converse("is the hall light on")).speech == "Yes"
    assert home._waiting == {}
    await home.aclose()


async def test_a_refused_token_is_named_and_not_tried_again_at_once(
    house: FakeHomeAssistant,
) -> None:
    home = HomeAssistant(house.url, lambda: "stale", pause_s=lambda failures: 0.0)
    home.start()

    async def refused() -> bool:
        return "refused the token" in str(await lost(home))

    await eventually(refused, within_s=5)
    assert house.logins == 1
    await home.aclose()


async def test_a_token_that_comes_later_is_used(house: FakeHomeAssistant) -> None:
    tokens = iter(["", "", "home-token"])
    home = HomeAssistant(house.url, lambda: next(tokens), pause_s=lambda failures: 0.01)
    home.start()
    await connected(home)
    assert house.logins == 1
    await home.aclose()


async def test_a_server_that_is_something_else_is_named(house: FakeHomeAssistant) -> None:
    house.wrong_greeting = True
    home = HomeAssistant(house.url, lambda: "home-token", pause_s=lambda failures: 0.01)
    home.start()

    async def named() -> bool:
        return "does not speak Home Assistant's protocol" in str(await lost(home))

    await eventually(named, within_s=5)
    await home.aclose()


async def test_a_refused_command_is_an_error_with_its_code(home: HomeAssistant) -> None:
    reply = await home._request({"type": "nobody/knows"})
    assert reply["error"]["code"] == "unknown_command"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("http://home:8123", "ws://home:8123/api/websocket"),
        ("https://home.example/", "wss://home.example/api/websocket"),
        ("http://home/prefix", "ws://home/prefix/api/websocket"),
        ("ws://home:8123/api/websocket", "ws://home:8123/api/websocket"),
    ],
)
def test_the_address_is_made_of_what_people_know(given: str, expected: str) -> None:
    assert websocket_url(given) == expected


@pytest.mark.parametrize("given", ["home:8123", "ftp://home", "http://", ""])
def test_an_address_that_is_none_names_the_setting(given: str) -> None:
    with pytest.raises(SettingInvalid, match="HOME_ASSISTANT_URL"):
        websocket_url(given)


def test_pauses_grow_and_are_bounded() -> None:
    for failures in range(1, 2000, 37):
        longest = min(PAUSE_MOST_S, 0.25 * 2.0 ** min(failures - 1, 10))
        assert longest / 2 <= pause(failures) <= longest


@pytest.mark.parametrize(
    "result",
    [
        {},
        {"response": None},
        {"response": {"response_type": "dance"}},
        {"response": {"response_type": ["error"]}},
        {"response": {"response_type": "error", "speech": [], "data": "x"}},
    ],
)
def test_an_answer_that_is_none_is_an_error_without_speech(result: dict[str, object]) -> None:
    assert answer_of(result) == HomeAnswer("error", "", "unknown")


def test_half_a_surrogate_pair_in_an_answer_does_not_travel_on() -> None:
    speech = {"plain": {"speech": "a\ud800b"}}
    answer = answer_of({"response": {"response_type": "query_answer", "speech": speech}})
    assert answer.speech == "a?b"


async def _value(value: object) -> object:
    return value
