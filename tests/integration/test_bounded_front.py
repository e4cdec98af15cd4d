"""Limits of the HTTP server, on real sockets: what a client without a token can do."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket
from structlog.testing import capture_logs

from barnabee.core import connection_limits
from barnabee.core.auth import Authenticator
from barnabee.core.connection_limits import HttpLimits
from barnabee.core.http import ServiceMiddleware
from barnabee.core.metrics import Metrics
from support.asgi_server import serve_app
from support.wait import LAST_RESORT_S, eventually, find_free_port

LONG_S = 1000.0
# Each test shortens the limits that it is about.
PATIENT = HttpLimits(
    header_s=LONG_S,
    body_stall_s=LONG_S,
    keep_alive_s=LONG_S,
    unread_s=LONG_S,
    first_message_s=LONG_S,
)
GET = b"GET /small HTTP/1.1\r\nHost: test\r\n\r\n"


class Connection:
    """Raw connection to the server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def read_response(self) -> tuple[int, dict[str, Any]]:
        """Return status and JSON body."""
        async with asyncio.timeout(LAST_RESORT_S):
            header = (await self.reader.readuntil(b"\r\n\r\n")).lower()
            length = int(header.partition(b"content-length:")[2].partition(b"\r\n")[0])
            body: dict[str, Any] = json.loads(await self.reader.readexactly(length) or b"{}")
            return int(header.split()[1]), body

    async def read_to_the_end(self) -> bytes:
        """Return all that comes until the server closes the connection."""
        received = b""
        async with asyncio.timeout(LAST_RESORT_S):
            try:
                while data := await self.reader.read(65_536):
                    received += data
            except ConnectionResetError:
                pass
        return received


class Front:
    """Server with a few routes, and its clients."""

    def __init__(self, url: str, stack: AsyncExitStack) -> None:
        self.url = httpx.URL(url)
        self.stack = stack
        self.disconnected = asyncio.Event()

    async def connect(self, address: str = "127.0.0.1") -> Connection:
        reader, writer = await asyncio.open_connection(
            self.url.host, self.url.port, local_addr=(address, 0)
        )
        self.stack.callback(writer.close)
        return Connection(reader, writer)

    async def is_served(self) -> bool:
        connection = await self.connect()
        await connection.send(GET)
        return (await connection.read_response())[0] == 200


async def get_small(_request: Request) -> Response:
    return JSONResponse({})


async def read_body(request: Request) -> Response:
    try:
        return JSONResponse({"bytes": len(await request.body())})
    finally:
        request.app.state.ended.set()


async def get_endless(_request: Request) -> Response:
    async def generate() -> AsyncIterator[bytes]:
        while True:
            yield bytes(65_536)
            await asyncio.sleep(0)

    return StreamingResponse(generate())


async def hold_open(request: Request) -> Response:
    request.app.state.held += 1
    await request.app.state.released.wait()
    return JSONResponse({})


async def accept_socket(websocket: WebSocket) -> None:
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text(text)


def make_app() -> Starlette:
    app = Starlette(
        routes=[
            Route("/small", get_small),
            Route("/body", read_body, methods=["POST"]),
            Route("/endless", get_endless),
            Route("/held", hold_open),
            WebSocketRoute("/socket", accept_socket),
        ]
    )
    app.state.held = 0
    app.state.released, app.state.ended = asyncio.Event(), asyncio.Event()
    return app


@asynccontextmanager
async def run_front(limits: HttpLimits, app: Any = None) -> AsyncIterator[Front]:
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(serve_app(app or make_app(), limits=limits))
        yield Front(url, stack)


def shorten(**limits: float) -> HttpLimits:
    return HttpLimits(**{**vars(PATIENT), "close_s": 0.05, **limits})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /small HTTP/1.1\r\nCookie: barnabee_session=" + b"\\a" * 16_384 + b"\r\n\r\n",
        b"GET /small HTTP/1.1\r\nCookie: barnabee_session=" + b"\\a" * 16_384,
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n",
        b"GET /small HTTP/1.1\r\n" + b"a: b\r\n" * 4000 + b"\r\n",
        b"GET /" + b"a" * 20_000,
        b"POST /body HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nTrailer: " + b"a" * 50_000,
        b"POST /body HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;" + b"a" * 50_000,
        b"GET /socket HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Key: " + b"a" * 20_000 + b"\r\n\r\n",
    ],
    ids=[
        "cookie",
        "endless_cookie",
        "url",
        "headers",
        "endless_url",
        "trailer",
        "chunk",
        "upgrade",
    ],
)
async def test_a_large_header_is_refused_with_a_sentence(request_bytes: bytes) -> None:
    async with run_front(shorten()) as front:
        connection = await front.connect()
        await connection.send(request_bytes)
        status, body = await connection.read_response()
        assert (status, body["code"]) == (431, "too_large")
        assert body["message"] == "The request header is larger than the limit of 16384 bytes."
        assert await connection.read_to_the_end() == b""
        assert await front.is_served()


async def test_a_header_of_the_largest_size_is_accepted_in_any_pieces() -> None:
    async with run_front(PATIENT) as front:
        request = GET.replace(b"\r\n\r\n", b"\r\nCookie: " + b"a" * 16_000 + b"\r\n\r\n")
        for size in (len(request), 5000, 16_010):
            connection = await front.connect()
            for start in range(0, len(request), size):
                await connection.send(request[start : start + size])
            assert (await connection.read_response())[0] == 200


async def test_large_and_chunked_bodies_are_accepted() -> None:
    async with run_front(PATIENT) as front, httpx.AsyncClient(base_url=front.url) as client:
        large = await client.post("/body", content=bytes(900_000))
        assert large.json() == {"bytes": 900_000}

        async def generate() -> AsyncIterator[bytes]:
            for _ in range(2000):
                yield b"a"

        assert (await client.post("/body", content=generate())).json() == {"bytes": 2000}


async def test_a_client_that_sends_a_mebibyte_reads_the_refusal() -> None:
    async with run_front(PATIENT) as front:
        connection = await front.connect()
        await connection.send(b"GET /small HTTP/1.1\r\nCookie: " + b"a" * 1024 * 1024 + b"\r\n\r\n")
        assert (await connection.read_response())[0] == 431


async def test_an_endless_header_is_cut_off() -> None:
    async with run_front(shorten(close_s=LONG_S)) as front:
        connection = await front.connect()
        await connection.send(b"GET /small HTTP/1.1\r\nCookie: ")

        async def send_32_mib() -> None:
            for _ in range(512):
                await connection.send(b"a" * 65_536)

        with pytest.raises(ConnectionError):
            await asyncio.wait_for(send_32_mib(), LAST_RESORT_S)


@pytest.mark.parametrize(
    "started", [GET[:-2], b"\r\n", b"GET /socket HTTP/1.1\r\nUpgrade: websocket\r\n"]
)
async def test_a_header_that_takes_too_long_is_refused(started: bytes) -> None:
    async with run_front(shorten(header_s=0.1)) as front:
        connection = await front.connect()
        await connection.send(started)
        status, body = await connection.read_response()
        assert (status, body["code"]) == (408, "bad_request")
        assert "was not complete within 0.1 s" in body["message"]
        assert await connection.read_to_the_end() == b""


async def test_a_header_sent_byte_by_byte_is_refused_in_time() -> None:
    async with run_front(shorten(header_s=0.2)) as front:
        connection = await front.connect()

        async def trickle() -> None:
            while True:
                await connection.send(b"a")
                await asyncio.sleep(0.02)

        await connection.send(GET[:-2])
        task = asyncio.create_task(trickle())
        assert (await connection.read_response())[0] == 408
        task.cancel()


async def test_a_silent_connection_is_closed() -> None:
    async with run_front(shorten(header_s=0.1)) as front:
        assert await (await front.connect()).read_to_the_end() == b""


async def test_an_idle_connection_is_closed_and_blank_lines_do_not_keep_it_open() -> None:
    async with run_front(shorten(keep_alive_s=0.1, header_s=0.3)) as front:
        for then in (b"", b"\r\n"):
            connection = await front.connect()
            await connection.send(GET)
            assert (await connection.read_response())[0] == 200
            if then:
                await connection.send(then)
            await connection.read_to_the_end()


@pytest.mark.parametrize("limits", [{"body_stall_s": 0.1}, {"body_stall_s": 0.1, "header_s": 0.1}])
async def test_a_body_that_stalls_is_ended(limits: dict[str, float]) -> None:
    app = make_app()
    async with run_front(shorten(**limits), app) as front:
        connection = await front.connect()
        await connection.send(b"POST /body HTTP/1.1\r\nContent-Length: 100\r\n\r\nabc")
        status, body = await connection.read_response()
        assert (status, body["code"]) == (408, "bad_request")
        assert await connection.read_to_the_end() == b""
        await asyncio.wait_for(app.state.ended.wait(), LAST_RESORT_S)  # the application is told


async def test_a_body_that_trickles_is_ended() -> None:
    limits = shorten(body_stall_s=0.2, body_min_bytes_per_s=1_000_000)
    async with run_front(limits) as front:
        connection = await front.connect()
        await connection.send(b"POST /body HTTP/1.1\r\nContent-Length: 100000\r\n\r\n")

        async def trickle() -> None:
            while True:
                await connection.send(b"a")
                await asyncio.sleep(0.02)

        task = asyncio.create_task(trickle())
        assert (await connection.read_response())[0] == 408
        task.cancel()


async def test_a_body_after_an_early_response_is_not_read_for_ever() -> None:
    async with run_front(shorten(body_stall_s=0.1)) as front:
        connection = await front.connect()
        await connection.send(b"POST /nowhere HTTP/1.1\r\nContent-Length: 100\r\n\r\n")
        assert b" 404 " in await connection.reader.readuntil(b"\r\n\r\n")
        await connection.send(b"a")
        assert b"HTTP" not in await connection.read_to_the_end()


async def test_a_client_that_does_not_read_its_response_is_disconnected() -> None:
    async with run_front(shorten(unread_s=0.1)) as front:
        with closing(socket.create_connection((front.url.host, front.url.port or 0))) as client:
            client.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_sendall(client, GET.replace(b"small", b"endless"))

            async def is_reset() -> bool:
                return bool(client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))

            assert await eventually(is_reset)


@pytest.mark.parametrize(
    "junk", [bytes.fromhex("16030100c8010000c40303"), b"\x00" * 64, b"hello\r\n\r\n"]
)
async def test_bytes_that_are_not_http_are_refused_at_once(junk: bytes) -> None:
    async with run_front(PATIENT) as front:
        connection = await front.connect()
        await connection.send(junk)
        status, body = await connection.read_response()
        assert (status, body["message"]) == (400, "The request is invalid: it is not HTTP/1.1.")


async def test_pipelined_requests_are_bounded() -> None:
    app = make_app()
    async with run_front(shorten(), app) as front:
        connection = await front.connect()
        await connection.send(GET.replace(b"small", b"held") + GET * 5000)
        assert (await connection.read_response())[0] == 400
        assert await connection.read_to_the_end() == b""


async def test_a_few_pipelined_requests_are_answered() -> None:
    async with run_front(PATIENT) as front:
        connection = await front.connect()
        await connection.send(GET * 10)
        assert [(await connection.read_response())[0] for _ in range(10)] == [200] * 10


async def test_when_full_the_connection_that_waited_longest_makes_room() -> None:
    async with run_front(shorten(connections_max=4)) as front:
        half_open = [await front.connect() for _ in range(12)]
        for connection in half_open[:3]:
            await connection.read_to_the_end()
        for _ in range(3):
            assert await front.is_served()


async def test_connections_in_use_are_kept_and_further_ones_are_refused() -> None:
    app = make_app()
    async with run_front(shorten(connections_max=4), app) as front:
        in_use = [await front.connect() for _ in range(4)]
        for connection in in_use:
            await connection.send(GET.replace(b"small", b"held"))

        async def are_held() -> bool:
            return bool(app.state.held == 4)

        await eventually(are_held)
        status, body = await (await front.connect()).read_response()
        assert (status, body["code"]) == (503, "overloaded")
        app.state.released.set()
        assert [(await each.read_response())[0] for each in in_use] == [200] * 4


async def test_the_connections_of_one_address_are_bounded_except_on_loopback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection_limits, "LOOPBACK", ("127.0.0.1/32",))
    app = make_app()
    async with run_front(shorten(connections_max=20, reserved=10, per_address_max=3), app) as front:

        async def hold(address: str) -> Connection:
            connection = await front.connect(address)
            await connection.send(GET.replace(b"small", b"held"))
            return connection

        for _ in range(3):
            await hold("127.0.0.2")
        for address in range(3, 10):
            await hold(f"127.0.0.{address}")

        async def are_held() -> bool:
            return bool(app.state.held == 10)

        await eventually(are_held)
        assert (await (await hold("127.0.0.2")).read_response())[0] == 503
        assert (await (await hold("127.0.0.99")).read_response())[0] == 503  # the rest is reserved
        assert await front.is_served()


async def test_authenticated_connections_are_the_last_to_make_room() -> None:
    app = ServiceMiddleware(make_app(), Metrics("api"), Authenticator("token"))
    with_token = GET.replace(b"\r\n\r\n", b"\r\nAuthorization: Bearer token\r\n\r\n")
    async with run_front(shorten(connections_max=4), app) as front:
        known = await front.connect()
        await known.send(with_token)
        assert (await known.read_response())[0] == 200
        for _ in range(12):
            connection = await front.connect()
            await connection.send(GET)
            assert (await connection.read_response())[0] == 401
        await known.send(with_token)
        assert (await known.read_response())[0] == 200


async def test_a_websocket_without_a_message_is_closed_and_others_stay_open() -> None:
    key = base64.b64encode(b"0123456789abcdef")
    handshake = (
        b"GET /socket HTTP/1.1\r\nHost: test\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + key + b"\r\n\r\n"
    )
    message = bytes([0x81, 0x81]) + bytes(4) + b"x"
    async with run_front(shorten(first_message_s=0.2)) as front:
        silent, talking = await front.connect(), await front.connect()
        for connection in (silent, talking):
            await connection.send(handshake)
            assert b" 101 " in await connection.reader.readuntil(b"\r\n\r\n")
        await talking.send(message)
        assert await talking.reader.readexactly(3) == b"\x81\x01x"
        assert (await silent.read_to_the_end())[:1] == b"\x88"  # a close frame
        await talking.send(message)
        assert await talking.reader.readexactly(3) == b"\x81\x01x"


async def test_websockets_count_as_connections_until_they_end() -> None:
    async with run_front(shorten(connections_max=2)) as front:
        key = base64.b64encode(b"0123456789abcdef")
        handshake = (
            b"GET /socket HTTP/1.1\r\nHost: test\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + key + b"\r\n\r\n"
        )
        sockets = [await front.connect(), await front.connect()]
        for connection in sockets:
            await connection.send(handshake)
            await connection.reader.readuntil(b"\r\n\r\n")
        assert (await (await front.connect()).read_response())[0] == 503
        sockets[0].writer.close()
        assert await eventually(front.is_served)


async def test_what_was_ended_is_logged_in_few_lines() -> None:
    with capture_logs() as lines:
        async with run_front(shorten(header_s=0.05)) as front:
            for _ in range(20):
                connection = await front.connect()
                await connection.send(b"\x16\x03")
                await connection.read_to_the_end()

            async def is_logged() -> bool:
                return any(line["event"] == "connections_ended" for line in lines)

            await eventually(is_logged)
    ended = [line for line in lines if line["event"] == "connections_ended"]
    assert len(ended) == 1
    assert ended[0]["bad_request"] >= 1


SERVICE = """
from barnabee.core import serve
from barnabee.core.health import HealthMonitor
from barnabee.core.http import ServiceMiddleware, make_standard_routes
from barnabee.core.metrics import Metrics
from starlette.applications import Starlette

def build(system, settings):
    metrics = Metrics("api")
    health = HealthMonitor("api", [], metrics)
    app = Starlette(routes=make_standard_routes(health, metrics))
    return serve.ServiceApp(ServiceMiddleware(app, metrics, None), health)

serve.run_service("api", build)
"""


async def test_more_connections_than_descriptors_do_not_stop_a_service(tmp_path: Path) -> None:
    shipped = Path(__file__).resolve().parents[2] / "system.toml"
    port = find_free_port()
    system_file = tmp_path / "system.toml"
    text = shipped.read_text(encoding="utf-8").replace("port = 8000", f"port = {port}")
    system_file.write_text(text, encoding="utf-8")

    process = subprocess.Popen(
        ["prlimit", "--nofile=100:200", sys.executable, "-c", SERVICE],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(sys.path),
            "BARNABEE_SYSTEM": str(system_file),
        },
        stdout=subprocess.DEVNULL,
    )
    try:
        async with AsyncExitStack() as stack:

            async def is_live() -> bool:
                try:
                    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
                        return (await client.get("/health/live")).status_code == 200
                except httpx.TransportError:
                    return False

            assert await eventually(is_live)
            assert psutil.Process(process.pid).rlimit(psutil.RLIMIT_NOFILE) == (200, 200)
            for _ in range(300):
                half_open = socket.create_connection(("127.0.0.1", port))
                stack.callback(half_open.close)
                half_open.sendall(b"GET /")
            begun = time.monotonic()
            assert await eventually(is_live)
            print(f"answered {time.monotonic() - begun:.3f} s after 300 half-open requests")
            assert psutil.Process(process.pid).num_fds() < 150
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=LAST_RESORT_S) == 0
