"""The reverse proxy: limits of nginx, and what a client can make services believe through it."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
import websockets

from barnabee.core.auth import COOKIE_NAME
from barnabee.core.trusted_proxies import trust_proxies
from support.api import TOKEN, ApiProcess
from support.asgi_server import serve_app
from support.dashboard_api import SAME_ORIGIN
from support.nginx import Nginx, PrefixForm
from support.programs import needs_program
from support.redis import RedisServer

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    needs_program("nginx", "nginx-light"),
]
FORGED = {
    "X-Forwarded-For": "203.0.113.9",
    "X-Forwarded-Proto": "https",
    "X-Real-IP": "203.0.113.9",
}
MAX_CONNECTIONS = 64  # `limit_conn addresses` of nixos/proxy/http.conf
LOGINS_PER_MINUTE = 3


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ApiProcess]:
    redis = RedisServer(tmp_path_factory.mktemp("redis"))
    redis.start()
    process = ApiProcess(
        tmp_path_factory.mktemp("api"),
        redis.url,
        tables={"limits": {"logins_per_minute": LOGINS_PER_MINUTE}},
        environment={"BARNABEE_TRUSTED_PROXIES": "127.0.0.1"},
    ).start()
    await process.wait_until_unhealthy("gpu")
    yield process
    process.kill()
    redis.stop()


@pytest.fixture(scope="module")
def nginx(api: ApiProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    directory = tmp_path_factory.mktemp("nginx")
    proxy = Nginx(directory, api.url, directory, requests_per_second=1000).start()
    yield proxy
    proxy.stop()


def connect(url: str, address: str, **headers: str) -> httpx.AsyncClient:
    """Return a client with `address` as its own."""
    transport = httpx.AsyncHTTPTransport(verify=False, local_address=address)
    return httpx.AsyncClient(
        base_url=url, transport=transport, headers=SAME_ORIGIN | headers, timeout=30
    )


async def log_in(client: httpx.AsyncClient, token: str = TOKEN, **headers: str) -> httpx.Response:
    return await client.post("/api/login", json={"token": token}, headers=headers)


@pytest.mark.parametrize("address", ["127.0.0.2", "127.0.0.1"])
async def test_a_client_behind_the_proxy_cannot_choose_its_address(
    nginx: Nginx, address: str
) -> None:
    async with connect(nginx.url, address) as client:
        answers = [
            await log_in(client, "wrong", **{"X-Forwarded-For": f"203.0.113.{number}"})
            for number in range(LOGINS_PER_MINUTE + 1)
        ]
    assert [one.status_code for one in answers] == [401] * LOGINS_PER_MINUTE + [429]
    async with connect(nginx.url, "127.0.0.3") as other:
        assert (await log_in(other)).status_code == 204


async def test_a_client_beside_the_proxy_cannot_choose_its_address(api: ApiProcess) -> None:
    async with connect(api.url, "127.0.0.4") as client:
        answers = [
            await log_in(client, "wrong", **{"X-Forwarded-For": f"203.0.113.{number}"})
            for number in range(LOGINS_PER_MINUTE + 1)
        ]
    assert [one.status_code for one in answers] == [401] * LOGINS_PER_MINUTE + [429]


async def test_the_cookie_is_secure_exactly_over_the_proxys_tls(
    nginx: Nginx, api: ApiProcess
) -> None:
    for url, scheme, is_secure in ((nginx.url, "http", True), (api.url, "https", False)):
        async with connect(url, "127.0.0.5") as client:
            forged = {"X-Forwarded-Proto": scheme, "X-Forwarded-Prefix": "/elsewhere"}
            for headers in ({}, forged):
                cookie = (await log_in(client, **headers)).headers["set-cookie"]
                assert ("; Secure" in cookie) == is_secure
                assert "; Path=/;" in cookie


@pytest.mark.parametrize("how", ["rewrite", "strip", "pass"])
async def test_login_link_and_event_stream_work_below_a_path(
    api: ApiProcess, how: PrefixForm, tmp_path: Path
) -> None:
    proxy = Nginx(tmp_path, api.url, tmp_path, prefix="/barnabee", how=how).start()
    try:
        async with connect(proxy.url, "127.0.0.7", Accept="text/html") as client:
            head = {"Authorization": f"Bearer {TOKEN}"}
            path = (await client.post("/api/links", headers=head)).json()["path"]
            first = await client.get(path)
            page = first.next_request
            assert page is not None
            assert page.url == f"{proxy.url}/"
            assert "Path=/barnabee/" in first.headers["set-cookie"]
            async with client.stream("GET", "/api/events") as events:
                assert events.status_code == 200
                assert (await anext(events.aiter_lines())).startswith(("event:", "retry:", ":"))
            used = (await client.get(path)).next_request
            assert used is not None
            assert used.url == f"{proxy.url}/?refused=link_used"
            assert (await client.post("/api/logout")).status_code == 204
            assert COOKIE_NAME not in client.cookies
            outside = await client.get(proxy.url.removesuffix("/barnabee") + "/barnabee")
            assert outside.headers["location"].endswith("/barnabee/")
    finally:
        proxy.stop()


async def echo_client(scope: Any, receive: Any, send: Any) -> None:
    """Accept a WebSocket and send its path, scheme and client."""
    await receive()
    await send({"type": "websocket.accept"})
    seen = {"path": scope["path"], "scheme": scope["scheme"], "client": scope["client"][0]}
    await send({"type": "websocket.send", "text": json.dumps(seen)})
    await send({"type": "websocket.close"})


async def test_websockets_of_the_voice_service_know_their_client(
    api: ApiProcess, tmp_path: Path
) -> None:
    app = trust_proxies(echo_client, ("127.0.0.1",))
    async with serve_app(app, lifespan="off") as voice:
        proxy = Nginx(tmp_path, api.url, tmp_path, voice=voice).start()
        context = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))
        url = f"wss://127.0.0.1:{proxy.port}/voice/v1/rooms/kitchen"
        try:
            async with websockets.connect(
                url,
                ssl=context,
                local_addr=("127.0.0.8", 0),
                additional_headers=FORGED,
                proxy=None,
            ) as socket:
                seen = json.loads(await socket.recv())
        finally:
            proxy.stop()
    assert seen == {"path": "/v1/rooms/kitchen", "scheme": "wss", "client": "127.0.0.8"}


async def open_tls(nginx: Nginx, address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    context = ssl.create_default_context(cafile=str(nginx.directory / "cert.pem"))
    return await asyncio.open_connection(
        "127.0.0.1", nginx.port, ssl=context, local_addr=(address, 0)
    )


async def test_headers_beyond_16_kib_do_not_reach_a_service(nginx: Nginx) -> None:
    async with connect(nginx.url, "127.0.0.9") as client:
        for size_bytes, status in ((15_000, 200), (17_000, 400), (1_000_000, 400)):
            answer = await client.get("/health/live", headers={"Cookie": "a" * size_bytes})
            assert answer.status_code == status, size_bytes


async def test_one_address_has_a_bounded_number_of_connections(nginx: Nginx) -> None:
    request = b"POST /api/login HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{"
    held = []
    try:
        for _ in range(MAX_CONNECTIONS):
            reader, writer = await open_tls(nginx, "127.0.0.10")
            writer.write(request)
            held.append((reader, writer))
            await writer.drain()

        async with connect(nginx.url, "127.0.0.10") as same:
            while (await same.get("/health/live")).status_code != 429:
                await asyncio.sleep(0)
        async with connect(nginx.url, "127.0.0.11") as other:
            assert (await other.get("/health/live")).status_code == 200
    finally:
        for _, writer in held:
            writer.transport.abort()


async def test_a_connection_without_a_complete_request_is_closed(
    api: ApiProcess, tmp_path: Path
) -> None:
    proxy = Nginx(tmp_path, api.url, tmp_path, timeout_s=1).start()
    try:
        for part in (
            b"",
            b"GET / HTTP/1.1\r\nHost:",
            b"POST /api/login HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{",
        ):
            reader, writer = await open_tls(proxy, "127.0.0.12")
            writer.write(part)
            with suppress(ConnectionResetError):
                assert (await reader.read())[:13] in {b"", b"HTTP/1.1 408 "}
            writer.transport.abort()
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        assert await reader.read() == b"", "a client that sends no TLS handshake"
        writer.close()
    finally:
        proxy.stop()
