"""The api as a process with real Redis and SQLite; fake Home Assistant and gpu over sockets."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from typing import Any

import httpx
import pytest
import pytest_asyncio

from barnabee.core.auth import COOKIE_NAME, Authenticator
from support import fake_engines
from support.api import HOME_TOKEN, TOKEN, ApiProcess
from support.asgi_server import serve_app
from support.fake_home_assistant import FakeHomeAssistant
from support.redis import RedisServer
from support.wait import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")  # all tests share one process

LIGHT_ON = {"utterance": "turn on the kitchen light"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def home_assistant() -> AsyncIterator[FakeHomeAssistant]:
    fake = FakeHomeAssistant(token=HOME_TOKEN)
    await fake.start()
    yield fake
    await fake.stop()


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gpu_url() -> AsyncIterator[str]:
    async with serve_app(fake_engines.make_gpu_app()) as url:
        yield url


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(
    tmp_path_factory: pytest.TempPathFactory,
    redis_server: RedisServer,
    home_assistant: FakeHomeAssistant,
    gpu_url: str,
) -> AsyncIterator[ApiProcess]:
    process = ApiProcess(
        tmp_path_factory.mktemp("api"),
        redis_server.url,
        environment={"HOME_ASSISTANT_URL": home_assistant.url, "GPU_SERVICE_URL": gpu_url},
    ).start()
    await process.wait_until_unhealthy()
    await eventually(lambda: _has_intents(process))
    yield process
    process.kill()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(api: ApiProcess) -> AsyncIterator[httpx.AsyncClient]:
    async with api.client() as client:
        yield client


async def _has_intents(process: ApiProcess) -> bool:
    return bool(process.read_log("intents_embedded"))


async def say(client: httpx.AsyncClient, utterance: str, **more: str) -> dict[str, Any]:
    answer = await client.post("/v1/command", json={"utterance": utterance, **more})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def recorded(api: ApiProcess) -> set[str]:
    with closing(sqlite3.connect(api.data / "barnabee.db")) as connection:
        return {row[0] for row in connection.execute("SELECT trace_id FROM turns")}


def queued(redis: RedisServer) -> set[str]:
    import redis as library  # noqa: PLC0415 - the name is also a parameter

    with closing(library.Redis.from_url(redis.url)) as link:
        return {member.decode() for member in link.zrange("arq:queue", 0, -1)}


async def test_command_switches_a_light_and_is_answered(
    client: httpx.AsyncClient, home_assistant: FakeHomeAssistant, redis_server: RedisServer
) -> None:
    answer = await say(client, "Barnabee, turn on the kitchen light!", speaker="Emma")
    assert home_assistant.lights["kitchen light"] is True
    assert (answer["reply"], answer["intent"]) == ("The kitchen light is on.", "home_control")
    assert (answer["degraded"], answer["code"]) == ([], None)
    assert answer["actions"][0]["id"] == "light.kitchen_light"
    assert {"intent", "home", "session", "store", "total"} <= set(answer["latency_ms"])
    assert answer["trace_id"] in queued(redis_server)


async def test_the_trace_id_of_the_caller_is_in_response_and_log(
    api: ApiProcess, client: httpx.AsyncClient
) -> None:
    trace_id = "0af7651916cd43dd8448eb211c80319c"
    headers = {"traceparent": f"00-{trace_id}-b7ad6b7169203331-01"}
    answer = await client.post("/v1/command", json=LIGHT_ON, headers=headers)
    assert (answer.json()["trace_id"], answer.headers["x-trace-id"]) == (trace_id, trace_id)

    async def logged() -> list[dict[str, Any]]:  # written after the response is sent
        return [line for line in api.read_log("request") if line["trace_id"] == trace_id]

    (line,) = await eventually(logged)
    assert line["session_id"] == answer.json()["session_id"]
    assert (line["intent"], line["component"], line["status"]) == ("home_control", "api", 200)
    assert line["latency_ms"] > 0
    assert line["utterance_chars"] == len(LIGHT_ON["utterance"])
    assert "kitchen" not in json.dumps(line)


async def test_two_commands_with_one_trace_id_are_two_turns(
    client: httpx.AsyncClient, redis_server: RedisServer
) -> None:
    headers = {"traceparent": "00-0af7651916cd43dd8448eb211c80319d-b7ad6b7169203331-01"}
    one = await client.post("/v1/command", json=LIGHT_ON, headers=headers)
    two = await client.post("/v1/command", json=LIGHT_ON, headers=headers)
    assert one.json()["trace_id"] != two.json()["trace_id"]
    assert {answer.json()["trace_id"] for answer in (one, two)} <= queued(redis_server)


async def test_session_contains_earlier_exchanges(client: httpx.AsyncClient) -> None:
    first = await say(client, "what time is it", session_id="kitchen-1")
    again = await say(client, "can you repeat that", session_id="kitchen-1")
    assert again["reply"] == first["reply"]
    session = (await client.get("/v1/sessions/kitchen-1")).json()
    assert [turn["intent"] for turn in session["turns"]] == ["time", "repeat"]
    assert (await client.get("/v1/sessions/unknown")).status_code == 404


async def test_commands_of_one_session_follow_one_another(client: httpx.AsyncClient) -> None:
    """One that is said while the last one is carried out knows of it."""
    commands = (say(client, LIGHT_ON["utterance"], session_id="busy") for _ in range(10))
    await asyncio.gather(*commands)
    session = (await client.get("/v1/sessions/busy")).json()
    assert [turn["intent"] for turn in session["turns"]] == ["home_control"] * 10


async def test_facts_are_remembered_and_recalled(client: httpx.AsyncClient) -> None:
    await say(client, "remember that the spare key is under the mat")
    answer = await say(client, "where is the spare key")
    assert answer["reply"] == "You told me: the spare key is under the mat."


async def test_without_a_language_model_replies_are_degraded(client: httpx.AsyncClient) -> None:
    answer = await say(client, "what is the capital of australia")
    assert (answer["degraded"], answer["code"]) == (["llm"], "not_configured")


BODIES = [
    (b"turn on the light", 400, "bad_request"),
    (b'{"utterance": "\xff\xfe"}', 400, "bad_request"),
    (b'{"utterance": "\\ud83d"}', 400, "bad_request"),
    (b'{"utterance": "a\\u0000b"}', 400, "invalid_utterance"),
    (b'{"utterance": ""}', 400, "invalid_utterance"),
    (b"", 400, "bad_request"),
    (b"[" * 60_000, 400, "bad_request"),
    (json.dumps({"utterance": "x" * 10_000}).encode(), 413, "too_large"),
    (json.dumps({"utterance": "x" * 100_000}).encode(), 413, "too_large"),
]


async def test_invalid_bodies_are_refused(
    client: httpx.AsyncClient,
) -> None:
    for body, status, code in BODIES:
        answer = await client.post("/v1/command", content=body)
        assert (answer.status_code, answer.json()["code"]) == (status, code), body[:60]
        assert set(answer.json()) == {"code", "message", "trace_id"}
        assert (await say(client, "what time is it"))["intent"] == "time"


async def test_all_but_health_needs_a_token(api: ApiProcess) -> None:
    paths = ["/v1/turns", "/v1/sessions/x", "/api/system", "/metrics", "/", "/openapi.json"]
    for header in (None, "Bearer wrong", "Basic " + TOKEN, "Bearer"):
        headers = {"Authorization": header} if header else {}
        async with api.client(headers=headers) as client:
            for path in paths:
                refused = await client.get(path)
                assert refused.status_code in {401, 429}, path  # many wrong tokens
                assert refused.json()["code"] in {"unauthorized", "rate_limited"}
            assert (await client.post("/v1/command", json=LIGHT_ON)).status_code in {401, 429}
            assert (await client.get("/health")).status_code == 200


async def test_a_login_link_works_once(api: ApiProcess) -> None:
    key = Authenticator(TOKEN).make_link_key(time.time())
    async with api.client(headers={}) as browser:
        first = await browser.get("/login", params={"key": key})
        assert (first.status_code, first.headers["location"]) == (303, "./")
        cookie = first.headers["set-cookie"]
        assert cookie.startswith(f"{COOKIE_NAME}=")
        assert "HttpOnly" in cookie
        assert "samesite=strict" in cookie.lower()
        assert (await browser.get("/")).json()["name"] == "BarnabeeNet"
        assert (await browser.post("/v1/command", json=LIGHT_ON)).status_code == 200
    async with api.client(headers={}) as other:
        second = await other.get("/login", params={"key": key})
        assert (second.status_code, second.json()["code"]) == (401, "link_used")
        assert (await other.get("/")).status_code == 401
        forged = await other.get("/login", params={"key": key[:-1] + "x"})
        assert forged.status_code == 401


async def test_200_concurrent_commands_are_answered_and_queued(
    client: httpx.AsyncClient, redis_server: RedisServer
) -> None:
    answers = await asyncio.gather(
        *(say(client, LIGHT_ON["utterance"], session_id=f"s{n % 20}") for n in range(200))
    )
    assert [answer["reply"] for answer in answers] == ["The kitchen light is on."] * 200
    trace_ids = {answer["trace_id"] for answer in answers}
    assert len(trace_ids) == 200
    assert trace_ids <= queued(redis_server)


async def test_the_openapi_document_describes_commands(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    command = document["paths"]["/v1/command"]["post"]
    body = command["requestBody"]["content"]["application/json"]["schema"]
    assert set(body["properties"]) == {*("utterance", "session_id", "speaker", "room", "kept")}
    answer = document["components"]["schemas"]["CommandResponse"]["properties"]
    assert set(await say(client, "what time is it")) == set(answer)
