"""The demo home with a real Home Assistant, started once and restarted once."""

from __future__ import annotations

import asyncio
import json
import signal
import stat
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from support.demo_home import DemoHomeProcess, make_environment
from support.wait import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def home(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DemoHomeProcess]:
    running = DemoHomeProcess(tmp_path_factory.mktemp("demo-home"))
    await running.start()
    yield running
    running.stop()


async def _onboard_only(home: DemoHomeProcess) -> subprocess.CompletedProcess[bytes]:
    return await asyncio.to_thread(
        subprocess.run,
        home.command("--onboard-only"),
        env=make_environment(),
        capture_output=True,
        timeout=60,
        check=False,
    )


async def test_the_token_is_valid_and_its_file_private(home: DemoHomeProcess) -> None:
    assert (await home.call("auth/current_user"))["is_owner"]
    assert stat.S_IMODE(home.token_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(home.home.password_file.stat().st_mode) == 0o600


async def test_every_log_line_is_json(home: DemoHomeProcess) -> None:
    events = [json.loads(line)["event"] for line in home.log.splitlines()]

    assert events == ["demo_home_started", "demo_home_token_made", "demo_home_ready"]


async def test_the_kitchen_light_is_turned_on_and_off_by_a_sentence(home: DemoHomeProcess) -> None:
    response = await home.say("turn on the kitchen light")

    assert response["response_type"] == "action_done"
    assert [target["id"] for target in response["data"]["success"]] == ["light.kitchen_light"]
    assert (await home.state("light.kitchen_light"))["state"] == "on"

    await home.say("turn off the kitchen light")

    assert (await home.state("light.kitchen_light"))["state"] == "off"


async def test_a_question_about_a_light_is_answered(home: DemoHomeProcess) -> None:
    await home.say("turn on the kitchen light")

    response = await home.say("is the kitchen light on?")

    assert response["response_type"] == "query_answer"
    assert response["speech"]["plain"]["speech"] == "Yes"


async def test_a_sentence_dims_a_lamp(home: DemoHomeProcess) -> None:
    await home.say("turn on the living room lamp")
    assert (await home.state("light.living_room_lamp"))["attributes"]["brightness"] == 255

    response = await home.say("set the living room lamp to 30 percent")

    assert response["response_type"] == "action_done"
    lamp = await home.state("light.living_room_lamp")
    assert (lamp["state"], lamp["attributes"]["brightness"]) == ("on", 76)


async def test_the_outside_temperature_is_answered(home: DemoHomeProcess) -> None:
    response = await home.say("what is the outside temperature")

    assert response["speech"]["plain"]["speech"] == "Outside temperature is 12.5 °C"


@pytest.mark.parametrize(
    ("sentence", "entity_id"),
    [
        ("turn on the coffee machine", "switch.coffee_machine"),
        ("turn on the garden fountain", "switch.garden_fountain"),
        ("turn on the lights in the hall", "light.hall_light"),
        ("turn on the bedroom light", "light.bedroom_light"),
    ],
)
async def test_devices_are_controlled_by_name_and_by_room(
    home: DemoHomeProcess, sentence: str, entity_id: str
) -> None:
    assert (await home.say(sentence))["response_type"] == "action_done"
    assert (await home.state(entity_id))["state"] == "on"


@pytest.mark.parametrize(
    ("sentence", "code"),
    [
        ("turn on the disco ball", "no_valid_targets"),
        ("turn on the lights in the attic", "no_valid_targets"),
        ("colourless green ideas sleep furiously", "no_intent_match"),
    ],
)
async def test_unknown_devices_and_sentences_are_error_responses(
    home: DemoHomeProcess, sentence: str, code: str
) -> None:
    response = await home.say(sentence)

    assert response["response_type"] == "error"
    assert response["data"]["code"] == code


async def test_onboarding_again_keeps_a_valid_token(home: DemoHomeProcess) -> None:
    before = home.token

    assert (await _onboard_only(home)).returncode == 0

    assert home.token == before


@pytest.mark.parametrize("content", [None, "not a token\n"])
async def test_a_missing_or_invalid_token_is_replaced(
    home: DemoHomeProcess, content: str | None
) -> None:
    lost = home.token
    home.token_file.unlink()
    if content is not None:
        home.token_file.write_text(content)

    assert (await _onboard_only(home)).returncode == 0

    assert home.token not in {lost, content}
    assert (await home.call("auth/current_user"))["is_owner"]
    async with httpx.AsyncClient(trust_env=False) as http:
        with_lost = await http.get(
            f"{home.home.url}api/", headers={"Authorization": f"Bearer {lost}"}
        )
    assert with_lost.status_code == 401


@pytest.mark.parametrize("password", [None, "wrong"])
async def test_a_foreign_home_is_rejected_with_a_remedy(
    home: DemoHomeProcess, tmp_path: Path, password: str | None
) -> None:
    other = DemoHomeProcess(tmp_path, port=home.port)
    if password is not None:
        other.home.directory.mkdir(parents=True)
        other.home.password_file.write_text(password)

    outcome = await _onboard_only(other)

    assert outcome.returncode == 1
    (line,) = [json.loads(line) for line in outcome.stdout.splitlines()]
    assert line["code"] == "demo_home_failed"
    assert "to start over with an empty home" in line["message"]


async def test_a_taken_port_is_named(home: DemoHomeProcess, tmp_path: Path) -> None:
    second = DemoHomeProcess(tmp_path, port=home.port)

    outcome = await asyncio.to_thread(
        subprocess.run,
        second.command(),
        env=make_environment(),
        capture_output=True,
        timeout=60,
        check=False,
    )

    assert outcome.returncode == 1
    assert f"cannot listen on port {home.port}" in outcome.stdout.decode()


async def test_a_restart_keeps_token_rooms_and_states(home: DemoHomeProcess) -> None:
    await home.say("turn on the kitchen light")
    before = home.token

    assert home.stop() == 0
    await home.start()

    assert home.token == before
    assert (await home.state("light.kitchen_light"))["state"] == "on"
    response = await home.say("turn off the lights in the kitchen")
    assert response["response_type"] == "action_done"


async def test_home_assistant_does_not_outlive_a_killed_parent(home: DemoHomeProcess) -> None:
    home.stop(signal.SIGKILL)

    async def gone() -> bool:
        async with httpx.AsyncClient(trust_env=False) as http:
            try:
                await http.get(home.home.url)
            except httpx.ConnectError:
                return True
        return False

    await eventually(gone)
    await home.start()
