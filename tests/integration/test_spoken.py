"""What the voice measured joins the turn: a real api, a real worker, a real Redis."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from barnabee.clients.api import TurnReport, StageTiming, send_turn_report
from barnabee.testing import gpu
from support.api import ApiProcess
from support.redis import RedisServer
from support.serve import served
from support.spoken import REPORT_BODY
from support.wait import eventually
from support.worker import WorkerProcess

TRACE = "0af7651916cd43dd8448eb211c80319c"
ASKED = {"utterance": "what time is it", "session_id": "kitchen"}
TOLD = TurnReport(
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
    async with served(gpu.make_gpu_app()) as engines:
        environment = {"GPU_SERVICE_URL": engines}
        process = ApiProcess(tmp_path / "api", redis_server.url, environment=environment).start()
        await process.missing()
        yield process
        process.kill()


@pytest.fixture
async def client(api: ApiProcess) -> AsyncIterator[httpx.AsyncClient]:
    async with api.client() as client:
        yield client


async def ask(client: httpx.AsyncClient, trace_id: str = TRACE, **more: Any) -> dict[str, Any]:
    headers = {"traceparent": f"00-{trace_id}-b7ad6b7169203331-01"}
    answer = await client.post("/v1/command", json=ASKED | more, headers=headers)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_it_joins_its_turn_though_it_came_first_and_twice(
    api: ApiProcess, client: httpx.AsyncClient, redis_server: RedisServer, tmp_path: Path
) -> None:
    for _ in range(2):
        await send_turn_report(client, TOLD)
    await ask(client)
    worker = WorkerProcess(tmp_path / "worker", redis_server.url, api.data)
    worker.start()

    async def joined() -> dict[str, Any]:
        answer = await client.get(f"/v1/turns/{TRACE}")
        assert answer.status_code == 200
        turn: dict[str, Any] = answer.json()
        assert turn["spoken"]
        return turn

    try:
        turn = await eventually(joined, within_s=15)
    finally:
        worker.clean_up()
    assert turn["utterance"] == ASKED["utterance"]
    assert turn["spoken"]["stages"] == {"stt": {"at_ms": 210.5, "took_ms": 640.0}}
    assert (turn["spoken"]["interrupted"], turn["spoken"]["heard"]) == (True, "It's twenty")
    (listed,) = (await client.get("/v1/turns")).json()["turns"]
    assert listed == turn


async def test_without_redis_it_is_there_at_once_and_without_a_turn_too(
    client: httpx.AsyncClient, redis_server: RedisServer
) -> None:
    redis_server.kill()
    await ask(client)
    other = "f" * 32
    answers = [
        await client.post(f"/v1/turns/{trace_id}/spoken", json=REPORT_BODY) for trace_id in (TRACE, other)
    ]
    assert [one.status_code for one in answers] == [202, 202]
    assert answers[0].json() == {"trace_id": TRACE, "degraded": ["redis"]}
    assert (await client.get(f"/v1/turns/{TRACE}")).json()["spoken"]["room"] == "kitchen"
    alone = (await client.get(f"/v1/turns/{other}/spoken")).json()
    assert (alone["trace_id"], alone["engine"]) == (other, "parakeet")
    assert (await client.get(f"/v1/turns/{other}")).status_code == 404
    assert (await client.get(f"/v1/turns/{'a' * 32}/spoken")).json()["code"] == "not_found"


@pytest.mark.parametrize("body", [b"", b"[]", b"\xff", b'{"room": 1}', b"[" * 60_000])
async def test_what_is_none_is_refused_in_a_sentence(
    api: ApiProcess, client: httpx.AsyncClient, body: bytes
) -> None:
    answer = await client.post(f"/v1/turns/{TRACE}/spoken", content=body)
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")
    assert (await client.post("/v1/turns/x/spoken", json=REPORT_BODY)).status_code == 400
    async with api.client(headers={}) as stranger:
        assert (await stranger.post(f"/v1/turns/{TRACE}/spoken", json=REPORT_BODY)).status_code == 401


async def test_a_question_that_is_not_kept_leaves_no_turn_and_no_session(
    api: ApiProcess, client: httpx.AsyncClient, redis_server: RedisServer
) -> None:
    redis_server.kill()  # so that a turn would be in the database at once
    answer = await ask(client, kept=False)
    assert answer["intent"] == "time"
    again = await ask(client, "a" * 32, kept=False, utterance="can you repeat that")
    assert again["reply"] != answer["reply"]
    assert (await client.get("/v1/sessions/kitchen")).status_code == 404
    noted = await ask(client, "b" * 32, kept=False, utterance="remember that the bin is green")
    with closing(sqlite3.connect(api.data / "barnabee.db")) as connection:
        kept = connection.execute("SELECT trace_id FROM turns").fetchall()
    assert kept == [(noted["trace_id"],)]  # what changed something is always in the record
