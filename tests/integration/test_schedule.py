"""Timers of the api as a process: durable before they are answered; notifications."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from support import fake_engines
from support.api import HOME_TOKEN, ApiProcess
from support.asgi_server import serve_app
from support.fake_home_assistant import FakeHomeAssistant
from support.redis import RedisServer
from support.wait import eventually


@pytest.fixture
async def home_assistant() -> AsyncIterator[FakeHomeAssistant]:
    fake = FakeHomeAssistant(token=HOME_TOKEN)
    await fake.start()
    yield fake
    await fake.stop()


@pytest.fixture
def redis_server(tmp_path: Path) -> RedisServer:
    server = RedisServer(tmp_path / "redis")
    server.start()
    return server


@pytest.fixture
async def api(
    tmp_path: Path, redis_server: RedisServer, home_assistant: FakeHomeAssistant
) -> AsyncIterator[ApiProcess]:
    async with serve_app(fake_engines.make_gpu_app()) as gpu_url:
        urls = {"HOME_ASSISTANT_URL": home_assistant.url, "GPU_SERVICE_URL": gpu_url}
        process = ApiProcess(tmp_path / "api", redis_server.url, environment=urls).start()
        await process.wait_until_unhealthy()
        yield process
        process.kill()


def stored(api: ApiProcess) -> list[tuple[str, ...]]:
    with closing(sqlite3.connect(api.data / "barnabee.db")) as connection:
        sql = "SELECT kind, label, room, state FROM schedule ORDER BY due_at"
        return connection.execute(sql).fetchall()


async def say(client: httpx.AsyncClient, utterance: str) -> dict[str, Any]:
    body = {"utterance": utterance, "session_id": "kitchen-1", "room": "kitchen"}
    answer = await client.post("/v1/command", json=body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_an_answered_timer_survives_the_crash_of_api_and_redis(
    api: ApiProcess, redis_server: RedisServer
) -> None:
    async with api.client() as client:
        answer = await say(client, "set a pasta timer for 10 minutes")
        assert answer["reply"] == "I set a pasta timer for 10 minutes."
        redis_server.kill()
        await say(client, "set a timer for an hour")
    api.kill()
    timers = [("timer", "pasta", "kitchen", "pending"), ("timer", "1 hour", "kitchen", "pending")]
    assert stored(api) == timers
    redis_server.start()
    api.start()
    await api.wait_until_unhealthy()
    async with api.client() as client:
        assert (
            "pasta timer has" in (await say(client, "how long is left on the pasta timer"))["reply"]
        )
        assert (await say(client, "cancel all timers"))["reply"] == "I cancelled 2 timers."
    assert stored(api) == []


async def test_what_was_missed_is_told_with_the_next_reply(api: ApiProcess) -> None:
    async with api.client() as client:
        await say(client, "set a pasta timer for 10 minutes")
        with closing(sqlite3.connect(api.data / "barnabee.db")) as connection, connection:
            connection.execute("UPDATE schedule SET state = 'missed'")
        reply = (await say(client, "what time is it"))["reply"]
        assert "By the way, you missed your pasta timer at" in reply
        assert "missed" not in (await say(client, "what time is it"))["reply"]


async def test_a_notification_is_shown_by_home_assistant(
    api: ApiProcess, home_assistant: FakeHomeAssistant
) -> None:
    notification = {"notification_id": "barnabee_1", "message": "Your pasta timer is done."}
    async with api.client() as client:

        async def is_accepted() -> bool:
            answer = await client.post("/v1/notifications", json=notification)
            return answer.status_code == 204

        await eventually(is_accepted)
        wrong = await client.post("/v1/notifications", json={**notification, "message": ""})
        assert wrong.status_code == 400
    calls = [one for one in home_assistant.received if one["type"] == "call_service"]
    data = calls[0]["service_data"]
    assert (calls[0]["domain"], calls[0]["service"]) == ("persistent_notification", "create")
    assert (data["message"], data["notification_id"]) == (notification["message"], "barnabee_1")
    assert calls[1]["domain"] == "notify"
