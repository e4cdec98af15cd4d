"""Wake word streams over real sockets: a client, and the service with a fake engine."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from numpy.typing import NDArray
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from barnabee.audio import wav
from barnabee.audio.samples import to_pcm16
from support.asgi_server import serve_app
from support.fake_engines import FakeWakeWordEngine
from support.gpu_app import TOKEN, RunningService, ServiceStarter


@dataclass
class WakeConnection:
    """Open stream, and its `ready` message."""

    socket: ClientConnection
    ready: dict[str, Any]

    async def send_audio(self, *pieces: NDArray[Any] | bytes) -> None:
        for audio in pieces:
            await self.socket.send(audio if isinstance(audio, bytes) else audio.tobytes())

    async def send_message(self, **message: object) -> None:
        await self.socket.send(json.dumps(message))

    async def receive(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(await self.socket.recv())
        return message

    async def receive_until_closed(self) -> tuple[list[dict[str, Any]], int]:
        """Return the messages until the server closes, and its close code."""
        messages = [json.loads(message) async for message in self._messages()]
        code = self.socket.close_code
        assert code is not None
        return messages, code

    async def _messages(self) -> AsyncIterator[str | bytes]:
        with suppress(ConnectionClosed):
            while True:
                yield await self.socket.recv()


@asynccontextmanager
async def open_wake_stream(url: str, token: str, **query: object) -> AsyncIterator[WakeConnection]:
    """Open a stream at a service's HTTP URL."""
    address = f"{url.replace('http', 'ws', 1)}/v1/wake?{urlencode(query)}"
    headers = {"Authorization": f"Bearer {token}"}
    async with connect(address, additional_headers=headers, proxy=None) as socket:
        yield WakeConnection(socket, json.loads(await socket.recv()))


async def expect_refusal(url: str, token: str, **query: object) -> tuple[int, dict[str, Any]]:
    """Return the status and body of a refused stream; fails if it is accepted."""
    try:
        async with open_wake_stream(url, token, **query):
            message = "it was not refused"
            raise AssertionError(message)
    except InvalidStatus as answer:
        body: dict[str, Any] = json.loads(answer.response.body or b"{}")
        return answer.response.status_code, body


@dataclass
class WakeServer:
    """Service on a socket, and its fake engine."""

    service: RunningService
    engine: FakeWakeWordEngine
    url: str

    def open_stream(self, **query: object) -> AbstractAsyncContextManager[WakeConnection]:
        return open_wake_stream(self.url, TOKEN, **query)

    async def read_metric(self, name: str) -> float:
        text = (await self.service.client.get("/metrics")).text
        lines = [line for line in text.splitlines() if line.startswith(name)]
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines)

    async def has_metric(self, name: str, value: float) -> bool:
        return await self.read_metric(name) == value


@asynccontextmanager
async def serve_wake_words(
    start: ServiceStarter, engine: FakeWakeWordEngine | None = None
) -> AsyncIterator[WakeServer]:
    engine = engine or FakeWakeWordEngine()
    service = await start(wake=lambda: engine)
    async with serve_app(service.running.app, lifespan="off") as url:
        yield WakeServer(service, engine, url)


def load_padded_recording(path: Path) -> bytes:
    """Return 16 kHz PCM with 1.5 s of silence before and after."""
    audio = to_pcm16(wav.decode(wav.parse(path.read_bytes(), max_s=60), 16_000))
    return bytes(48_000) + audio + bytes(48_000)


def split_audio(audio: bytes, size: int) -> Iterator[bytes]:
    return (audio[at : at + size] for at in range(0, len(audio), size))
