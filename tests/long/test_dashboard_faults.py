"""Dashboard routes of a real api: rate limit, restart, events, and turns without Redis."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.api import ApiProcess
from support.dashboard_api import SAME_ORIGIN, log_in, run_dashboard_api
from support.redis import RedisServer
from support.wait import eventually


@pytest.fixture
async def api(tmp_path: Path, redis_server: RedisServer) -> AsyncIterator[ApiProcess]:
    async with run_dashboard_api(tmp_path / "api", redis_server.url) as running:
        yield running


async def test_wrong_token_is_refused_and_rate_limited(api: ApiProcess) -> None:
    async with api.client(headers=SAME_ORIGIN) as client:
        answers = [await client.post("/api/login", json={"token": f"guess {n}"}) for n in range(7)]
        codes = [one.json()["code"] for one in answers]
        assert codes[:5] == ["unauthorized"] * 5
        assert codes[5:] == ["rate_limited"] * 2
        assert all("set-cookie" not in one.headers for one in answers)


async def test_revoked_session_stays_invalid_after_a_restart(api: ApiProcess) -> None:
    async with log_in(api) as phone, log_in(api) as tablet:
        listed = (await tablet.get("/api/browsers")).json()
        assert len(listed) == 2
        (other,) = [one for one in listed if not one["this"]]
        assert (await tablet.delete(f"/api/browsers/{other['id']}")).status_code == 204
        assert (await phone.get("/api/system")).status_code == 401
        assert (await tablet.get("/api/system")).status_code == 200
        assert (await tablet.delete(f"/api/browsers/{other['id']}")).status_code == 404
        api.stop()
        api.start()
        await api.wait_until_unhealthy()
        assert (await phone.get("/api/system")).status_code == 401
        assert (await tablet.get("/api/system")).status_code == 200


async def read_events(client: httpx.AsyncClient) -> AsyncIterator[tuple[str, Any]]:
    async with client.stream("GET", "/api/events") as stream:
        assert stream.headers["content-type"] == "text/event-stream"
        kind = ""
        async for line in stream.aiter_lines():
            if line.startswith("event: "):
                kind = line.removeprefix("event: ")
            elif line.startswith("data: "):
                yield kind, json.loads(line.removeprefix("data: "))


async def test_event_stream_has_status_and_turns(
    api: ApiProcess, redis_server: RedisServer
) -> None:
    async with log_in(api) as client, asyncio.timeout(120):
        events = read_events(client)
        kind, now = await anext(events)
        assert kind == "now"
        assert {one["name"] for one in now["services"]} >= {"api", "gpu", "voice", "redis"}
        async for kind, now in events:  # rooms are polled while a page is open
            if kind == "now" and now["rooms"]:
                break
        assert now["rooms"][0]["state"] == "listening"
        response = await client.post("/v1/command", json={"utterance": "what time is it"})
        async for kind, turn in events:
            assert kind in {"now", "turn", "beat"}, turn
            if kind == "turn":
                break
        assert turn["trace_id"] == response.json()["trace_id"]
        assert turn["reply"] == response.json()["reply"]
        unrecorded = {"utterance": "what time is it", "kept": False}
        await client.post("/v1/command", json=unrecorded)
        killed_s = time.time()
        redis_server.kill()
        async for kind, now in events:
            assert kind != "turn"
            redis = next((one for one in now.get("services", ()) if one["name"] == "redis"), None)
            if redis and redis["state"] == "unhealthy":
                break
        assert redis is not None
        assert redis["since_s"] >= int(killed_s)
        memory = next(one for one in now["abilities"] if one["key"] == "remember")
        assert memory["state"] == "degraded"
        await events.aclose()  # type: ignore[attr-defined]


async def test_open_event_stream_does_not_delay_shutdown(api: ApiProcess) -> None:
    async with log_in(api) as client:
        events = read_events(client)
        await anext(events)
        assert await asyncio.to_thread(api.stop) == 0
        # A stream that uvicorn cancels after its timeout ends with RemoteProtocolError.
        assert all([kind in {"now", "beat"} async for kind, _ in events])


async def test_search_needs_all_words_and_has_no_wildcards(
    api: ApiProcess, redis_server: RedisServer
) -> None:
    redis_server.kill()  # so that turns are written to the database at once
    async with log_in(api) as client:
        for text in ("what time is it", "remember that 100% of the keys are mine", "good morning"):
            assert (await client.post("/v1/command", json={"utterance": text})).status_code == 200

        async def search_turns(search: str) -> list[str]:
            page = (await client.get("/v1/turns", params={"search": search})).json()
            return [one["utterance"] for one in page["turns"]]

        assert await search_turns("TIME what") == ["what time is it"]
        assert await search_turns("keys time") == []
        assert await search_turns("100%") == ["remember that 100% of the keys are mine"]
        assert await search_turns("%") == ["remember that 100% of the keys are mine"]
        assert await search_turns("_") == []
        assert await search_turns("'; DROP TABLE turns --") == []
        assert len(await search_turns("")) == 3


async def test_waterfall_has_stages_explanation_and_log(
    api: ApiProcess, redis_server: RedisServer
) -> None:
    redis_server.kill()
    async with log_in(api) as client:
        response = (await client.post("/v1/command", json={"utterance": "what time is it"})).json()
        path = f"/v1/turns/{response['trace_id']}/waterfall"

        async def read_waterfall() -> dict[str, Any]:
            waterfall: dict[str, Any] = (await client.get(path)).json()
            assert any(one["event"] == "request" for one in waterfall["lines"])
            return waterfall

        waterfall = await eventually(read_waterfall)
        assert waterfall["turn"]["utterance"] == "what time is it"
        assert {one["stage"] for one in waterfall["stages"]} >= {"session", "intent"}
        assert any("redis" in one for one in waterfall["why"]), waterfall["why"]
        assert (await client.get(f"/v1/turns/{'0' * 32}/waterfall")).status_code == 404


async def test_5000_turns_are_listed_and_searched(
    api: ApiProcess, redis_server: RedisServer
) -> None:
    with closing(sqlite3.connect(api.data / "barnabee.db")) as connection, connection:
        same = ("reply", "time", "[]", "[]", "{}")
        rows = [
            (
                f"{n:032x}",
                "s",
                None,
                f"utterance {n}",
                *same,
                f"2026-01-01T00:{n // 60:02}:{n % 60:02}Z",
            )
            for n in range(5000)
        ]
        marks = ", ".join("?" * 10)
        connection.executemany(f"INSERT INTO turns VALUES ({marks})", rows)  # noqa: S608
    async with log_in(api) as client:
        seen, before = set(), None
        while True:
            query = {"limit": 200} | ({"before": before} if before else {})
            page = (await client.get("/v1/turns", params=query)).json()
            seen |= {one["trace_id"] for one in page["turns"]}
            before = page["next"]
            if before is None:
                break
        assert len(seen) == 5000
        found = (await client.get("/v1/turns", params={"search": "utterance 4321"})).json()
        assert [one["utterance"] for one in found["turns"]] == ["utterance 4321"]
