"""The client's side of /v1/wake for tests, over a real socket."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from numpy.typing import NDArray
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus


@dataclass
class WakeConnection:
    """An open stream and the `ready` that it began with."""

    socket: ClientConnection
    ready: dict[str, Any]

    async def say(self, *sounds: NDArray[Any] | bytes) -> None:
        for sound in sounds:
            await self.socket.send(sound if isinstance(sound, bytes) else sound.tobytes())

    async def tell(self, **message: object) -> None:
        await self.socket.send(json.dumps(message))

    async def next(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(await self.socket.recv())
        return message

    async def rest(self) -> tuple[list[dict[str, Any]], int]:
        """Return what comes until the other side closes, and its close code."""
        came = [json.loads(message) async for message in self._messages()]
        code = self.socket.close_code
        assert code is not None
        return came, code

    async def _messages(self) -> AsyncIterator[str | bytes]:
        with suppress(ConnectionClosed):
            while True:
                yield await self.socket.recv()


@asynccontextmanager
async def open_wake_stream(url: str, token: str, **query: object) -> AsyncIterator[WakeConnection]:
    """Open a stream at a service's http address."""
    address = f"{url.replace('http', 'ws', 1)}/v1/wake?{urlencode(query)}"
    headers = {"Authorization": f"Bearer {token}"}
    async with connect(address, additional_headers=headers, proxy=None) as socket:
        yield WakeConnection(socket, json.loads(await socket.recv()))


async def expect_refusal(url: str, token: str, **query: object) -> tuple[int, dict[str, Any]]:
    """Return the status and body with which a stream is refused."""
    try:
        async with open_wake_stream(url, token, **query):
            message = "it was not refused"
            raise AssertionError(message)
    except InvalidStatus as answer:
        body: dict[str, Any] = json.loads(answer.response.body or b"{}")
        return answer.response.status_code, body
