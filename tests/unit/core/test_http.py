"""The layer in front of every route: access, limits, errors, trace ids, metrics."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI, Request, WebSocket
from pydantic import BaseModel

from barnabee.core.auth import Access
from barnabee.core.errors import BarnabeeError, DependencyDown, RateLimited
from barnabee.core.health import Check, Health
from barnabee.core.http import Front, handle_errors, standard_routes
from barnabee.core.metrics import Metrics

TOKEN = {"Authorization": "Bearer t"}
metrics_of: dict[str, Metrics] = {}


class Body(BaseModel):
    text: str


async def down() -> None:
    raise DependencyDown(dependency="redis", reason="refused")


def application() -> Front:
    metrics = Metrics("api")
    metrics_of["api"] = metrics
    health = Health("api", [Check("redis", down, hard=True)], metrics)
    app = FastAPI(routes=standard_routes(health, metrics))
    handle_errors(app)

    @app.post("/echo")
    async def echo(body: Body) -> Body:
        return body

    @app.post("/raw")
    async def raw(request: Request) -> int:
        return len(await request.body())

    @app.get("/limited")
    async def limited() -> None:
        raise RateLimited(limit=1, retry_after_s=7)

    @app.get("/broken")
    async def broken() -> None:
        raise ZeroDivisionError

    return Front(app, metrics, Access("t"), body_max_bytes=1000)


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(application(), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://house") as client:
        yield client


async def test_health_is_open_and_everything_else_is_not(client: httpx.AsyncClient) -> None:
    assert (await client.get("/health/live")).status_code == 200
    for path in ("/metrics", "/echo", "/nowhere"):
        refused = await client.get(path)
        assert (refused.status_code, refused.json()["code"]) == (401, "unauthorized")


async def test_readiness_is_503_and_names_what_is_down(client: httpx.AsyncClient) -> None:
    for path in ("/health", "/health/ready"):
        answer = await client.get(path)
        assert answer.status_code == 503
        assert answer.json()["status"] == "unhealthy"
        assert answer.json()["dependencies"]["redis"]["code"] == "dependency_down"


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"text": 5}', b"\xff\xfe", b'{"text": "a\\ud800"}', b"null"]
)
async def test_a_bad_body_gets_one_sentence_and_a_code(
    client: httpx.AsyncClient, content: bytes
) -> None:
    answer = await client.post("/echo", content=content, headers=TOKEN)
    assert answer.status_code == 400
    assert answer.json()["code"] == "bad_request"
    assert answer.json()["trace_id"] == answer.headers["x-trace-id"]


async def test_a_body_over_the_limit_is_refused_even_without_a_length(
    client: httpx.AsyncClient,
) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b"x" * 100

    for content in (b"x" * 1001, endless()):
        answer = await client.post("/raw", content=content, headers=TOKEN)
        assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


async def test_retry_after_is_sent(client: httpx.AsyncClient) -> None:
    answer = await client.get("/limited", headers=TOKEN)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")


async def test_a_bug_is_an_answer_too(client: httpx.AsyncClient) -> None:
    answer = await client.get("/broken", headers=TOKEN)
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")


async def test_the_callers_trace_id_comes_back(client: httpx.AsyncClient) -> None:
    trace_id = "0af7651916cd43dd8448eb211c80319c"
    headers = {"traceparent": f"00-{trace_id}-b7ad6b7169203331-01"}
    answer = await client.get("/health/live", headers=headers)
    assert answer.headers["x-trace-id"] == trace_id


async def test_requests_and_failures_are_counted_by_route_and_code(
    client: httpx.AsyncClient,
) -> None:
    await client.post("/echo", json={"text": "a"}, headers=TOKEN)
    await client.get("/limited", headers=TOKEN)
    text = (await client.get("/metrics", headers=TOKEN)).text
    labels = 'component="api",method="POST",route="/echo",status="200"'
    assert f"barnabee_request_duration_seconds_count{{{labels}}} 1.0" in text
    assert 'barnabee_errors_total{code="rate_limited",component="api"} 1.0' in text


async def test_an_unknown_page_is_404_and_does_not_make_a_series_of_its_own(
    client: httpx.AsyncClient,
) -> None:
    answer = await client.get("/who/knows/1", headers=TOKEN)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    text = (await client.get("/metrics", headers=TOKEN)).text
    assert "/who/knows" not in text
    assert 'route="unmatched"' in text


# ---- WebSockets ----


async def stream(front: Front, *, token: str, extension: bool = True) -> list[dict[str, object]]:
    """Open a WebSocket at /stream, send one message, hang up; return what came back."""
    coming = [
        {"type": "websocket.connect"},
        {"type": "websocket.receive", "text": "a"},
        {"type": "websocket.disconnect", "code": 1000},
    ]
    sent: list[dict[str, object]] = []

    async def receive() -> dict[str, object]:
        return coming.pop(0)

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    scope = {
        "type": "websocket",
        "path": "/stream",
        "query_string": b"",
        "headers": [(b"authorization", f"Bearer {token}".encode())],
        "subprotocols": [],
        "extensions": {"websocket.http.response": {}} if extension else {},
    }
    await front(scope, receive, send)  # type: ignore[arg-type]
    return sent


def streaming(error: BarnabeeError | None = None) -> Front:
    front = application()

    async def endless(socket: WebSocket) -> None:
        if error:
            raise error
        await socket.accept()
        while (await socket.receive())["type"] != "websocket.disconnect":
            await asyncio.to_thread(time.sleep, 0.05)

    assert isinstance(front.app, FastAPI)
    front.app.add_api_websocket_route("/stream", endless)
    return front


async def test_a_websocket_without_the_token_is_refused_like_any_request() -> None:
    start, body = await stream(streaming(), token="wrong")
    assert (start["type"], start["status"]) == ("websocket.http.response.start", 401)
    answer = json.loads(str(body["body"], "utf-8"))  # type: ignore[call-overload]
    assert answer["code"] == "unauthorized"
    assert (b"x-trace-id", answer["trace_id"].encode()) in start["headers"]  # type: ignore[operator]


async def test_a_server_that_cannot_say_why_closes_with_the_status() -> None:
    (closed,) = await stream(streaming(), token="wrong", extension=False)
    assert closed == {"type": "websocket.close", "code": 4401}


async def test_what_a_websocket_route_raises_before_it_opens_is_a_plain_answer() -> None:
    start, body = await stream(streaming(RateLimited(limit=1, retry_after_s=7)), token="t")
    assert (start["status"], json.loads(str(body["body"], "utf-8"))["code"]) == (
        429,
        "rate_limited",
    )  # type: ignore[call-overload]
    assert (b"retry-after", b"7") in start["headers"]  # type: ignore[operator]
    assert 'code="rate_limited"' in metrics_of["api"].render().decode()


async def test_a_websocket_counts_as_a_request_until_it_is_open() -> None:
    """It may be open for days, which would make every latency alert ring."""
    accepted, *_ = await stream(streaming(), token="t")
    assert accepted["type"] == "websocket.accept"
    text = metrics_of["api"].render().decode()
    labels = 'component="api",method="WEBSOCKET",route="/stream",status="101"'
    found = re.search(rf"duration_seconds_sum{{{labels}}} (\S+)", text)
    assert found
    assert float(found[1]) < 0.05
