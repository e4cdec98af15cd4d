from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from barnabee.clients.home_assistant import HomeAssistant, parse_answer
from barnabee.clients.home_websocket import MAX_BACKOFF_S, make_websocket_url, reconnect_delay_s
from barnabee.core.errors import DependencyDown, HomeRefused, SettingInvalid, TimedOut
from barnabee.understanding.interfaces import Home, HomeAnswer
from support.fake_home_assistant import FakeHomeAssistant
from support.wait import eventually

KITCHEN = {"type": "entity", "name": "Kitchen Light", "id": "light.kitchen_light"}


@pytest.fixture
async def server() -> AsyncIterator[FakeHomeAssistant]:
    fake = FakeHomeAssistant()
    await fake.start()
    yield fake
    await fake.stop()


@pytest.fixture
async def client(server: FakeHomeAssistant) -> AsyncIterator[HomeAssistant]:
    client = HomeAssistant(
        server.url, lambda: "home-token", timeout_s=60, pause_s=lambda failures: 0.01
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

    await eventually(ready, every_s=0.01)


async def disconnected(client: HomeAssistant) -> DependencyDown:
    async def disconnect() -> DependencyDown | None:
        try:
            await client.ready()
        except DependencyDown as error:
            return error
        return None

    found = await eventually(disconnect, every_s=0.01)
    assert found is not None
    return found


async def test_command_switches_the_light(client: HomeAssistant, server: FakeHomeAssistant) -> None:
    answer = await client.converse("turn on the kitchen light", conversation_id="c1")
    assert answer == HomeAnswer("action_done", "Turned on the light", None, (KITCHEN,))
    assert server.lights["kitchen light"] is True
    received = [
        {key: value for key, value in one.items() if key != "id"} for one in server.received
    ]
    assert received == [
        {
            "type": "conversation/process",
            "text": "turn on the kitchen light",
            "language": "en",
            "conversation_id": "c1",
        }
    ]


@pytest.mark.parametrize(
    "match",
    [
        None,
        {"match": False, "fuzzy_match": False, "source": "builtin"},
        {"match": True, "fuzzy_match": True, "source": "builtin"},
        {"match": True, "source": "builtin", "intent": {"name": "HassStartTimer"}},
    ],
)
async def test_a_guess_of_the_agent_is_not_carried_out(
    client: HomeAssistant, server: FakeHomeAssistant, match: dict[str, object] | None
) -> None:
    server.match = match
    answer = await client.converse("turn on the kitchen light")
    assert (answer.kind, answer.code) == ("error", "no_intent_match")
    assert server.received == []


@pytest.mark.parametrize(
    ("targets", "kind"),
    [(("light.kitchen_light",), "action_done"), (("light.kitchen_light", "light.a"), "error")],
)
async def test_the_agent_changes_nothing_besides_what_it_may(
    client: HomeAssistant, server: FakeHomeAssistant, targets: tuple[str, ...], kind: str
) -> None:
    server.match = {"match": True, "targets": {one: {"matched": True} for one in targets}}
    answer = await client.converse("turn on the kitchen light", only=["light.kitchen_light"])
    assert answer.kind == kind


async def test_a_sentence_that_the_family_taught_is_carried_out(
    client: HomeAssistant, server: FakeHomeAssistant
) -> None:
    server.match = {"match": True, "source": "trigger", "sentence_template": "kitchen on"}
    answer = await client.converse("turn on the kitchen light")
    assert answer.kind == "action_done"


async def test_question_is_answered(client: HomeAssistant) -> None:
    assert await client.converse("is the hall light on") == HomeAnswer("query_answer", "Yes")


@pytest.mark.parametrize(
    ("text", "code"),
    [("sing a song", "no_intent_match"), ("turn on the moon", "no_valid_targets")],
)
async def test_unknown_command_has_its_error_code(
    client: HomeAssistant, text: str, code: str
) -> None:
    answer = await client.converse(text)
    assert (answer.kind, answer.code) == ("error", code)
    assert answer.speech.startswith("Sorry")


async def test_concurrent_requests_get_their_own_answers(
    client: HomeAssistant,
) -> None:
    names = ["kitchen light", "hall light"] * 50
    answers = await asyncio.gather(*(client.converse(f"turn on {name}") for name in names))
    assert [answer.actions[0]["name"].lower() for answer in answers] == names


async def test_dropped_connection_fails_pending_requests_as_sent(
    client: HomeAssistant, server: FakeHomeAssistant
) -> None:
    server.silent = True
    pending = asyncio.create_task(client.converse("turn on the kitchen light"))
    await eventually(lambda: _value(server.received), every_s=0.01)
    await server.drop_all()
    with pytest.raises(DependencyDown) as caught:
        await pending
    assert caught.value.fields["sent"] is True


async def test_lost_connection_is_reopened(
    client: HomeAssistant, server: FakeHomeAssistant
) -> None:
    await server.drop_all()
    await eventually(lambda: _value(server.logins == 2), every_s=0.01)
    await connected(client)
    assert (await client.converse("turn on the kitchen light")).kind == "action_done"


async def test_client_reconnects_after_a_restart_of_home_assistant(
    client: HomeAssistant, server: FakeHomeAssistant
) -> None:
    await server.stop()
    error = await disconnected(client)
    with pytest.raises(DependencyDown) as caught:
        await client.converse("turn on the kitchen light")
    assert (error.fields["dependency"], caught.value.fields["sent"]) == ("home_assistant", False)
    await server.start()
    await connected(client)
    assert (await client.converse("is the hall light on")).speech == "Yes"


async def test_invalid_frames_are_skipped(client: HomeAssistant, server: FakeHomeAssistant) -> None:
    server.garbage = True
    with capture_logs() as lines:
        assert (await client.converse("is the hall light on")).speech == "Yes"
    assert [line["event"] for line in lines].count("home_assistant_garbage") == 4


async def test_timeout_keeps_the_connection_usable(server: FakeHomeAssistant) -> None:
    client = HomeAssistant(server.url, lambda: "home-token", timeout_s=60)
    client.start()
    await connected(client)
    client._socket._timeout_s, server.silent = 0.05, True
    with pytest.raises(TimedOut):
        await client.converse("is the hall light on")
    client._socket._timeout_s, server.silent = 60, False
    assert (await client.converse("is the hall light on")).speech == "Yes"
    assert client._socket._pending == {}
    await client.aclose()


async def test_refused_token_is_reported_and_not_retried_at_once(
    server: FakeHomeAssistant,
) -> None:
    client = HomeAssistant(server.url, lambda: "stale", pause_s=lambda failures: 0.0)
    client.start()

    async def refused() -> bool:
        return "refused the token" in str(await disconnected(client))

    await eventually(refused)
    assert server.logins == 1
    await client.aclose()


async def test_token_that_arrives_later_is_used(server: FakeHomeAssistant) -> None:
    tokens = iter(["", "", "home-token"])
    client = HomeAssistant(server.url, lambda: next(tokens), pause_s=lambda failures: 0.01)
    client.start()
    await connected(client)
    assert server.logins == 1
    await client.aclose()


async def test_server_of_another_protocol_is_reported(server: FakeHomeAssistant) -> None:
    server.wrong_greeting = True
    client = HomeAssistant(server.url, lambda: "home-token", pause_s=lambda failures: 0.01)
    client.start()

    async def named() -> bool:
        return "does not speak Home Assistant's protocol" in str(await disconnected(client))

    await eventually(named)
    await client.aclose()


async def test_refused_command_is_an_error_with_its_code(client: HomeAssistant) -> None:
    reply = await client._socket.request({"type": "unknown/type"})
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
def test_websocket_url_is_made_from_the_http_url(given: str, expected: str) -> None:
    assert make_websocket_url(given) == expected


@pytest.mark.parametrize("given", ["home:8123", "ftp://home", "http://", ""])
def test_invalid_url_names_the_setting(given: str) -> None:
    with pytest.raises(SettingInvalid, match="HOME_ASSISTANT_URL"):
        make_websocket_url(given)


def test_reconnect_delay_grows_to_its_limit() -> None:
    for failures in range(1, 2000, 37):
        longest = min(MAX_BACKOFF_S, 0.25 * 2.0 ** min(failures - 1, 10))
        assert longest / 2 <= reconnect_delay_s(failures) <= longest


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
def test_invalid_answer_is_an_error_without_speech(result: dict[str, object]) -> None:
    assert parse_answer(result) == HomeAnswer("error", "", "unknown")


def test_lone_surrogate_in_an_answer_is_replaced() -> None:
    speech = {"plain": {"speech": "a\ud800b"}}
    answer = parse_answer({"response": {"response_type": "query_answer", "speech": speech}})
    assert answer.speech == "a?b"


async def _value(value: object) -> object:
    return value


# ---- the home ------------------------------------------------------------------------------------


async def test_home_has_names_areas_and_states(
    client: HomeAssistant, server: FakeHomeAssistant
) -> None:
    home = await client.read_home()
    light = home.entities["light.hall_light"]
    assert (light.names, light.area_id, light.state) == (("Hall light",), "hall", "on")
    assert [area.names for area in home.areas.values()] == [("Kitchen",), ("Hall",)]
    assert (home.time_zone, home.is_metric) == ("Europe/Amsterdam", True)


async def test_changed_state_is_waited_for(
    client: HomeAssistant, server: FakeHomeAssistant
) -> None:
    await client.read_home()

    def is_off(home: Home) -> bool:
        return home.entities["light.hall_light"].state == "off"

    waiting = asyncio.create_task(client.wait_until(is_off, timeout_s=60))
    await asyncio.sleep(0)
    await server.set_light("hall light", is_on=False)
    assert is_off(await waiting)


async def test_wait_ends_without_a_change(client: HomeAssistant) -> None:
    home = await client.wait_until(lambda _home: False, timeout_s=0.01)
    assert home.entities["light.hall_light"].state == "on"


async def test_service_is_called(client: HomeAssistant, server: FakeHomeAssistant) -> None:
    await client.call_service("light.turn_on", ["light.kitchen_light"], {"brightness_pct": 30})
    assert server.lights["kitchen light"] is True
    (request,) = server.received
    assert {key: request[key] for key in ("domain", "service", "service_data", "target")} == {
        "domain": "light",
        "service": "turn_on",
        "service_data": {"brightness_pct": 30},
        "target": {"entity_id": ["light.kitchen_light"]},
    }


async def test_refused_service_has_its_reason(
    client: HomeAssistant, server: FakeHomeAssistant
) -> None:
    server.refusal = "the lamp does not answer"
    with pytest.raises(HomeRefused, match="the lamp does not answer"):
        await client.call_service("light.turn_on", ["light.kitchen_light"])


async def test_agent_learns_the_room_by_a_device_in_it(server: FakeHomeAssistant) -> None:
    server.device_area = "kitchen"
    client = HomeAssistant(server.url, lambda: "home-token", timeout_s=60)
    client.start()
    await connected(client)
    await client.read_home()
    answer = await client.converse("turn on the kitchen light", room="Kitchen")
    assert answer.actions == (KITCHEN,)
    assert (server.received[0]["type"], server.received[0]["device_id"]) == (
        "assist_pipeline/run",
        "device",
    )
    await client.converse("turn on the kitchen light", room="Hall")
    assert server.received[1]["type"] == "conversation/process"
    await client.aclose()


async def test_home_is_unavailable_without_a_connection(
    client: HomeAssistant, server: FakeHomeAssistant
) -> None:
    await server.stop()
    await disconnected(client)
    with pytest.raises(DependencyDown):
        await client.read_home()


def test_action_that_failed_for_every_target_is_an_error() -> None:
    """Home Assistant calls it done, as for a color that a lamp does not have."""
    data = {"targets": [], "success": [], "failed": [KITCHEN]}
    speech = {"plain": {"speech": "Color set"}}
    response = {"response_type": "action_done", "speech": speech, "data": data}
    assert parse_answer({"response": response}) == HomeAnswer("error", "", "failed_to_handle")
