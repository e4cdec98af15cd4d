"""The api without its dependencies, with other settings, and over a restart."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from support import fake_engines
from support.api import HOME_TOKEN, ApiProcess
from support.asgi_server import serve_app
from support.fake_home_assistant import FakeHomeAssistant
from support.fake_llm import FakeLlmServer, ScriptedAnswer
from support.redis import RedisServer
from support.wait import eventually

LIGHT_ON = {"utterance": "turn on the kitchen light"}


@pytest.fixture
async def home_assistant() -> AsyncIterator[FakeHomeAssistant]:
    fake = FakeHomeAssistant(token=HOME_TOKEN)
    await fake.start()
    yield fake
    await fake.stop()


@pytest.fixture
async def gpu_url() -> AsyncIterator[str]:
    async with serve_app(fake_engines.make_gpu_app()) as url:
        yield url


@pytest.fixture
async def api(
    tmp_path: Path, redis_server: RedisServer, home_assistant: FakeHomeAssistant, gpu_url: str
) -> AsyncIterator[ApiProcess]:
    process = ApiProcess(
        tmp_path / "api",
        redis_server.url,
        environment={"HOME_ASSISTANT_URL": home_assistant.url, "GPU_SERVICE_URL": gpu_url},
    ).start()
    await process.wait_until_unhealthy()
    await eventually(lambda: _has_intents(process))
    yield process
    process.kill()


@pytest.fixture
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


async def test_turns_are_read_page_by_page(
    api: ApiProcess, client: httpx.AsyncClient, redis_server: RedisServer
) -> None:
    redis_server.kill()  # so that the api writes turns itself
    responses = [await say(client, "what time is it", session_id="s") for _ in range(5)]
    pages, before = [], None
    while True:
        query = {"limit": 2, "session_id": "s"} | ({"before": before} if before else {})
        page = (await client.get("/v1/turns", params=query)).json()
        pages.append([turn["trace_id"] for turn in page["turns"]])
        before = page["next"]
        if before is None:
            break
    assert [one for page in pages for one in page] == [
        one["trace_id"] for one in reversed(responses)
    ]
    turn = (await client.get(f"/v1/turns/{responses[0]['trace_id']}")).json()
    assert (turn["utterance"], turn["reply"]) == ("what time is it", responses[0]["reply"])
    assert (await client.get(f"/v1/turns/{'0' * 32}")).json()["code"] == "not_found"
    assert (await client.get("/v1/turns/nonsense")).status_code == 400
    assert (await client.get("/v1/turns", params={"limit": 0})).status_code == 400


async def test_no_turn_is_lost_when_redis_is_killed(
    api: ApiProcess, client: httpx.AsyncClient, redis_server: RedisServer
) -> None:
    answers: list[dict[str, Any]] = []

    async def send_commands(number: int) -> None:
        for _ in range(10):
            answer = await say(client, "what time is it", session_id=f"talk-{number}")
            answers.append(answer)

    senders = [asyncio.create_task(send_commands(number)) for number in range(10)]
    await eventually(lambda: _at_least(answers, 20), every_s=0.005)
    redis_server.kill()
    await asyncio.gather(*senders)
    assert len(answers) == 100
    assert ["redis"] in [answer["degraded"] for answer in answers]
    health = await api.wait_until_unhealthy("redis")
    assert health["status"] == "degraded"
    again = await say(client, "can you repeat that", session_id="talk-1")
    assert again["intent"] == "repeat"
    assert "o'clock" in again["reply"] or "It's" in again["reply"]
    redis_server.start()
    await api.wait_until_unhealthy()
    later: list[dict[str, Any]] = []

    async def is_not_degraded() -> bool:
        later.append(await say(client, "what time is it", session_id="talk-1"))
        return later[-1]["degraded"] == []

    await eventually(is_not_degraded)
    stored = recorded(api) | queued(redis_server)
    assert {answer["trace_id"] for answer in [*answers, again, *later]} <= stored


async def _at_least(answers: list[dict[str, Any]], number: int) -> bool:
    return len(answers) >= number


async def test_an_outage_of_home_assistant_is_reported_and_ends(
    api: ApiProcess, client: httpx.AsyncClient, home_assistant: FakeHomeAssistant
) -> None:
    await home_assistant.stop()
    await api.wait_until_unhealthy("home_assistant")
    away = await say(client, LIGHT_ON["utterance"])
    assert (away["degraded"], away["code"]) == (["home_assistant"], "dependency_down")
    assert "couldn't do that" in away["reply"]
    assert (await say(client, "what time is it"))["degraded"] == []
    await home_assistant.start()
    await api.wait_until_unhealthy()
    assert (await say(client, LIGHT_ON["utterance"]))["reply"] == "The kitchen light is on."


async def test_without_the_gpu_service_intents_are_matched_by_words(
    tmp_path: Path, redis_server: RedisServer, home_assistant: FakeHomeAssistant
) -> None:
    process = ApiProcess(
        tmp_path / "api",
        redis_server.url,
        environment={
            "HOME_ASSISTANT_URL": home_assistant.url,
            "GPU_SERVICE_URL": "http://127.0.0.1:1",
        },
    ).start()
    await process.wait_until_unhealthy("gpu")
    async with process.client() as client:
        answer = await say(client, "turn on the kitchen light")
        assert (answer["reply"], answer["degraded"]) == ("The kitchen light is on.", [])
        answer = await say(client, "time check")
    assert (answer["intent"], answer["degraded"]) == ("time", ["gpu"])
    assert process.stop() == 0


async def test_one_lost_gpu_service_of_two_degrades_only_health(
    tmp_path: Path, redis_server: RedisServer, home_assistant: FakeHomeAssistant, gpu_url: str
) -> None:
    process = ApiProcess(
        tmp_path / "api",
        redis_server.url,
        environment={
            "HOME_ASSISTANT_URL": home_assistant.url,
            "GPU_SERVICE_URL": f"http://127.0.0.1:1, {gpu_url}",
        },
    ).start()
    found = (await process.wait_until_unhealthy("gpu"))["dependencies"]["gpu"]
    assert (found["status"], found["code"]) == ("degraded", "gpu_degraded")
    assert "http://127.0.0.1:1 does not answer" in found["message"]
    assert gpu_url not in found["message"]
    await eventually(lambda: _has_intents(process))  # until then intents are matched by words
    async with process.client() as client:
        for room in ("kitchen", "bedroom", "hall"):
            answer = await say(client, f"turn on the {room} light")
            assert answer["degraded"] == []
    assert process.stop() == 0


async def test_a_start_without_the_gpu_service_uses_cached_embeddings(
    api: ApiProcess, redis_server: RedisServer
) -> None:
    assert api.stop() == 0
    (stored,) = (api.data / "cache").iterdir()
    assert stored.name.startswith("intents-")
    api.environment["GPU_SERVICE_URL"] = "http://127.0.0.1:1"
    embedded_before = len(api.read_log("intents_embedded"))
    api.start()
    await api.wait_until_unhealthy("gpu")
    assert api.read_log("intents_embedding_failed") == []
    assert len(api.read_log("intents_embedded")) == embedded_before


async def test_a_client_over_the_rate_limit_gets_a_retry_after(
    tmp_path: Path, redis_server: RedisServer, gpu_url: str
) -> None:
    process = ApiProcess(
        tmp_path / "api",
        redis_server.url,
        tables={"limits": {"commands_per_minute": 60, "command_burst": 3}},
        environment={"GPU_SERVICE_URL": gpu_url},
    ).start()
    await process.wait_until_unhealthy()
    async with process.client() as client:
        answers = [
            await client.post("/v1/command", json={"utterance": "what time is it"})
            for _ in range(6)
        ]
        refused = [answer for answer in answers if answer.status_code == 429]
        health = await client.get("/health")
    assert len(refused) >= 2
    assert refused[0].headers["retry-after"] == "1"
    assert refused[0].json()["code"] == "rate_limited"
    assert health.status_code == 200
    process.stop()


async def test_other_questions_go_to_the_language_model_also_under_the_old_names(
    tmp_path: Path, redis_server: RedisServer, gpu_url: str
) -> None:
    azure = FakeLlmServer(provider="azure")
    async with serve_app(azure.make_app()) as endpoint:
        process = ApiProcess(
            tmp_path / "api",
            redis_server.url,
            environment={
                "GPU_SERVICE_URL": gpu_url,
                "AZURE_OPENAI_ENDPOINT": endpoint,
                "AZURE_OPENAI_DEPLOYMENT": azure.model,
            },
        )
        process.credentials.mkdir(parents=True)
        (process.credentials / "azure_openai_key").write_text(azure.key, encoding="utf-8")
        process.start()
        await process.wait_until_unhealthy()
        async with process.client() as client:
            answer = await say(client, "what is the capital of france", session_id="s")
            azure.answer = ScriptedAnswer(status=500)
            failed = await say(client, "and of spain", session_id="s")
    assert (answer["reply"], answer["degraded"]) == ("Paris is the capital of France.", [])
    assert {"llm", "llm_first_token"} <= set(answer["latency_ms"])
    assert (failed["degraded"], failed["code"]) == (["llm"], "dependency_down")
    assert azure.key not in process.log
    process.stop()


async def test_requests_stages_and_degradations_are_counted(
    client: httpx.AsyncClient, home_assistant: FakeHomeAssistant
) -> None:
    await say(client, LIGHT_ON["utterance"])
    await say(client, "what is the capital of australia")
    await client.get("/v1/turns/" + "0" * 32)
    await client.get("/nowhere")
    text = (await client.get("/metrics")).text
    for series in (
        'barnabee_stage_duration_seconds_count{stage="home"} 2.0',
        'barnabee_intents_total{band="accept",intent="home_control"} 1.0',
        'barnabee_commands_degraded_total{dependency="llm"} 1.0',
        'barnabee_health_check_database{component="api"} 1.0',
        'barnabee_health_check_home_assistant{component="api"} 1.0',
        'route="/v1/command",status="200"} 2.0',
        'route="/v1/turns/{trace_id}",status="404"} 1.0',
        'route="unmatched",status="404"} 1.0',
    ):
        assert series in text, series


async def test_memory_is_small_and_sigterm_ends_the_process(
    api: ApiProcess, client: httpx.AsyncClient
) -> None:
    await say(client, LIGHT_ON["utterance"])
    assert api.process is not None
    used_mib = psutil.Process(api.process.pid).memory_info().rss / 2**20
    assert used_mib <= 150
    assert "openai" not in Path(f"/proc/{api.process.pid}/maps").read_text(encoding="utf-8")
    assert api.stop() == 0


@pytest.mark.parametrize(
    ("environment", "names"),
    [
        ({"BARNABEE_TIME_ZONE": "Mars/Olympus"}, "BARNABEE_TIME_ZONE"),
        ({"HOME_ASSISTANT_URL": "home"}, "HOME_ASSISTANT_URL"),
        ({"LLM_PROVIDER": "openai", "LLM_URL": "http://x/v1"}, "LLM_MODEL"),
        ({"LLM_PROVIDER": "openai", "LLM_URL": "x", "LLM_MODEL": "y"}, "LLM_URL"),
        (
            {"AZURE_OPENAI_ENDPOINT": "http://x", "AZURE_OPENAI_DEPLOYMENT": "y"},
            "credential llm_api_key",
        ),
    ],
)
async def test_an_invalid_setting_ends_the_start_with_one_sentence(
    tmp_path: Path, environment: dict[str, str], names: str
) -> None:
    process = ApiProcess(tmp_path / "api", "redis://127.0.0.1:1/0", environment=environment)
    process.start()
    assert process.process is not None
    assert process.process.wait(timeout=120) == 2
    assert names in process.read_log("stopped")[0]["message"]
