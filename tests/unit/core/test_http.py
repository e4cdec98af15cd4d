"""The service middleware: authentication, limits, errors, trace ids, metrics."""

from __future__ import annotations

import json
import re
import time
from collections.abc import AsyncIterator, Callable

import httpx
import pytest
from fastapi import FastAPI, Request, WebSocket
from pydantic import BaseModel

from barnabee.core.auth import Authenticator
from barnabee.core.errors import BarnabeeError, DependencyDown, RateLimited
from barnabee.core.health import HealthCheck, HealthMonitor
from barnabee.core.http import ServiceMiddleware, add_error_handlers, make_standard_routes
from barnabee.core.metrics import Metrics

TOKEN = {"Authorization": "Bearer t"}
metrics_of: dict[str, Metrics] = {}


class Body(BaseModel):
    text: str


async def down() -> None:
    raise DependencyDown(dependency="redis", reason="refused")


def application() -> ServiceMiddleware:
    metrics = Metrics("api")
    metrics_of["api"] = metrics
    health = HealthMonitor("api", [HealthCheck("redis", down, hard=True)], metrics)
    app = FastAPI(routes=make_standard_routes(health, metrics))
    add_error_handlers(app)

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

    return ServiceMiddleware(app, metrics, Authenticator("t"), body_max_bytes=1000)


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(application(), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://barnabee") as client:
        yield client


async def test_only_health_is_public(client: httpx.AsyncClient) -> None:
    assert (await client.get("/health/live")).status_code == 200
    for path in ("/metrics", "/echo", "/nowhere"):
        refused = await client.get(path)
        assert (refused.status_code, refused.json()["code"]) == (401, "unauthorized")


async def test_readiness_is_503_and_names_the_failed_dependency(client: httpx.AsyncClient) -> None:
    for path in ("/health", "/health/ready"):
        answer = await client.get(path, headers=TOKEN)
        assert answer.status_code == 503
        assert answer.json()["status"] == "unhealthy"
        assert answer.json()["dependencies"]["redis"]["code"] == "dependency_down"


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"text": 5}', b"\xff\xfe", b'{"text": "a\\ud800"}', b"null"]
)
async def test_an_invalid_body_is_answered_with_an_error_code(
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


async def test_an_unexpected_exception_is_answered_with_500(client: httpx.AsyncClient) -> None:
    answer = await client.get("/broken", headers=TOKEN)
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")


async def test_the_response_has_the_callers_trace_id(client: httpx.AsyncClient) -> None:
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


async def test_an_unknown_path_is_404_and_adds_no_metric_series(
    client: httpx.AsyncClient,
) -> None:
    answer = await client.get("/unknown/1", headers=TOKEN)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    text = (await client.get("/metrics", headers=TOKEN)).text
    assert "/unknown" not in text
    assert 'route="unmatched"' in text


# ---- WebSockets ----


async def stream(
    middleware: ServiceMiddleware, *, token: str, extension: bool = True
) -> list[dict[str, object]]:
    """Open a WebSocket at /stream, send one message, disconnect; return the received messages."""
    incoming = [
        {"type": "websocket.connect"},
        {"type": "websocket.receive", "text": "a"},
        {"type": "websocket.disconnect", "code": 1000},
    ]
    sent: list[dict[str, object]] = []

    async def receive() -> dict[str, object]:
        return incoming.pop(0)

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
    await middleware(scope, receive, send)  # type: ignore[arg-type]
    return sent


def streaming(
    error: BarnabeeError | None = None, on_message: Callable[[], object] = lambda: None
) -> ServiceMiddleware:
    middleware = application()

    async def endless(socket: WebSocket) -> None:
        if error:
            raise error
        await socket.accept()
        while (await socket.receive())["type"] != "websocket.disconnect":
            on_message()

    assert isinstance(middleware.app, FastAPI)
    middleware.app.add_api_websocket_route("/stream", endless)
    return middleware


async def test_a_websocket_without_the_token_is_refused_with_401() -> None:
    start, body = await stream(streaming(), token="wrong")
    assert (start["type"], start["status"]) == ("websocket.http.response.start", 401)
    answer = json.loads(str(body["body"], "utf-8"))  # type: ignore[call-overload]
    assert answer["code"] == "unauthorized"
    assert (b"x-trace-id", answer["trace_id"].encode()) in start["headers"]  # type: ignore[operator]


async def test_without_the_response_extension_a_websocket_closes_with_the_status() -> None:
    (closed,) = await stream(streaming(), token="wrong", extension=False)
    assert closed == {"type": "websocket.close", "code": 4401}


async def test_an_error_before_a_websocket_is_accepted_is_an_http_response() -> None:
    start, body = await stream(streaming(RateLimited(limit=1, retry_after_s=7)), token="t")
    assert (start["status"], json.loads(str(body["body"], "utf-8"))["code"]) == (
        429,
        "rate_limited",
    )  # type: ignore[call-overload]
    assert (b"retry-after", b"7") in start["headers"]  # type: ignore[operator]
    assert 'code="rate_limited"' in metrics_of["api"].render().decode()


async def test_a_websocket_is_measured_only_until_it_is_accepted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A connection may stay open for days; its duration would trigger every latency alert."""
    now_s = 100.0
    monkeypatch.setattr(time, "perf_counter", lambda: now_s)

    def pass_an_hour() -> None:
        nonlocal now_s
        now_s += 3600

    accepted, *_ = await stream(streaming(on_message=pass_an_hour), token="t")
    assert accepted["type"] == "websocket.accept"
    text = metrics_of["api"].render().decode()
    labels = 'component="api",method="WEBSOCKET",route="/stream",status="101"'
    found = re.search(rf"duration_seconds_sum{{{labels}}} (\S+)", text)
    assert found
    assert float(found[1]) == 0
    assert now_s >= 3700
