"""Turn reports of the voice service, with a real api, worker and Redis."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from barnabee.clients.api import StageTiming, TurnReport, send_turn_report
from support import fake_engines as fakes
from support.api import ApiProcess
from support.asgi_server import serve_app
from support.redis import RedisServer
from support.turn_records import REPORT_BODY
from support.wait import eventually
from support.worker import WorkerProcess

TRACE = "0af7651916cd43dd8448eb211c80319c"
COMMAND = {"utterance": "what time is it", "session_id": "kitchen"}
REPORT = TurnReport(
    trace_id=TRACE,
    room="kitchen",
    said_at="2026-01-01T00:00:00.000Z",
    stages={"stt": StageTiming(210.5, 640.0)},
    filler="thinking_1",
    interrupted=True,
    heard="It's twenty",
)


@pytest.fixture
async def api(tmp_path: Path, redis_server: RedisServer) -> AsyncIterator[ApiProcess]:
    async with serve_app(fakes.make_gpu_app()) as engines:
        environment = {"GPU_SERVICE_URL": engines}
        process = ApiProcess(tmp_path / "api", redis_server.url, environment=environment).start()
        await process.wait_until_unhealthy()
        yield process
        process.kill()


@pytest.fixture
async def client(api: ApiProcess) -> AsyncIterator[httpx.AsyncClient]:
    async with api.client() as client:
        yield client


async def ask(client: httpx.AsyncClient, trace_id: str = TRACE, **more: Any) -> dict[str, Any]:
    headers = {"traceparent": f"00-{trace_id}-b7ad6b7169203331-01"}
    answer = await client.post("/v1/command", json=COMMAND | more, headers=headers)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def test_repeated_early_report_is_joined_with_its_turn(
    api: ApiProcess, client: httpx.AsyncClient, redis_server: RedisServer, tmp_path: Path
) -> None:
    for _ in range(2):
        await send_turn_report(client, REPORT)
    await ask(client)
    worker = WorkerProcess(tmp_path / "worker", redis_server.url, api.data)
    worker.start()

    async def read_joined_turn() -> dict[str, Any]:
        answer = await client.get(f"/v1/turns/{TRACE}")
        assert answer.status_code == 200
        turn: dict[str, Any] = answer.json()
        assert turn["spoken"]
        return turn

    try:
        turn = await eventually(read_joined_turn)
    finally:
        worker.clean_up()
    assert turn["utterance"] == COMMAND["utterance"]
    assert turn["spoken"]["stages"] == {"stt": {"at_ms": 210.5, "took_ms": 640.0}}
    assert (turn["spoken"]["interrupted"], turn["spoken"]["heard"]) == (True, "It's twenty")
    (listed,) = (await client.get("/v1/turns")).json()["turns"]
    assert listed == turn


async def test_report_without_redis_or_turn_is_stored_at_once(
    client: httpx.AsyncClient, redis_server: RedisServer
) -> None:
    redis_server.kill()
    await ask(client)
    other = "f" * 32
    answers = [
        await client.post(f"/v1/turns/{trace_id}/spoken", json=REPORT_BODY)
        for trace_id in (TRACE, other)
    ]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[0].json() == {"trace_id": TRACE, "degraded": ["redis"]}
    assert (await client.get(f"/v1/turns/{TRACE}")).json()["spoken"]["room"] == "kitchen"
    report = (await client.get(f"/v1/turns/{other}/spoken")).json()
    assert (report["trace_id"], report["engine"]) == (other, "parakeet")
    assert (await client.get(f"/v1/turns/{other}")).status_code == 404
    assert (await client.get(f"/v1/turns/{'a' * 32}/spoken")).json()["code"] == "not_found"


async def test_invalid_reports_are_refused(api: ApiProcess, client: httpx.AsyncClient) -> None:
    for body in (b"", b"[]", b"\xff", b'{"room": 1}', b"[" * 60_000):
        answer = await client.post(f"/v1/turns/{TRACE}/spoken", content=body)
        assert (answer.status_code, answer.json()["code"]) == (400, "bad_request"), body
    assert (await client.post("/v1/turns/x/spoken", json=REPORT_BODY)).status_code == 400
    async with api.client(headers={}) as anonymous:
        assert (
            await anonymous.post(f"/v1/turns/{TRACE}/spoken", json=REPORT_BODY)
        ).status_code == 401


async def test_unkept_command_leaves_no_turn_and_no_session(
    api: ApiProcess, client: httpx.AsyncClient, redis_server: RedisServer
) -> None:
    redis_server.kill()  # so that a turn would be written directly
    answer = await ask(client, kept=False)
    assert answer["intent"] == "time"
    again = await ask(client, "a" * 32, kept=False, utterance="can you repeat that")
    assert again["reply"] != answer["reply"]
    assert (await client.get("/v1/sessions/kitchen")).status_code == 404
    fact = await ask(client, "b" * 32, kept=False, utterance="remember that the bin is green")
    with closing(sqlite3.connect(api.data / "barnabee.db")) as connection:
        stored = connection.execute("SELECT trace_id FROM turns").fetchall()
    assert stored == [(fact["trace_id"],)]  # a command that changes data is always recorded
