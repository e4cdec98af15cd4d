"""Client of Home Assistant's WebSocket API for sequential calls.

Format: https://developers.home-assistant.io/docs/api/websocket
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from barnabee.up.demo_home.config import DemoHomeFailed

_TIMEOUT_S = 10


@dataclass
class WebSocketConnection:
    """An authenticated connection."""

    _connection: ClientConnection
    _ids: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    async def call(self, command: str, **fields: object) -> Any:
        """Return the command's result; DemoHomeFailed when Home Assistant rejects it."""
        message_id = next(self._ids)
        await _send(self._connection, {"id": message_id, "type": command, **fields})
        while (answer := await _receive(self._connection)).get("id") != message_id:
            pass  # an event; nothing here subscribes to any
        if not answer["success"]:
            raise DemoHomeFailed(
                problem=f"rejected `{command}` ({answer['error']['message']})",
                remedy="see home-assistant.log in its directory",
            )
        return answer["result"]


@asynccontextmanager
async def open_connection(url: str, token: str) -> AsyncIterator[WebSocketConnection]:
    """Connect and authenticate with a short-lived or long-lived access token."""
    try:
        # No proxy and no size limit: it is our own process on loopback.
        async with connect(url, proxy=None, open_timeout=_TIMEOUT_S, max_size=None) as connection:
            await _receive(connection)
            await _send(connection, {"type": "auth", "access_token": token})
            if (answer := await _receive(connection))["type"] != "auth_ok":
                raise DemoHomeFailed(
                    problem=f"did not accept a token ({answer.get('message')})",
                    remedy="delete the token file and start it again",
                )
            yield WebSocketConnection(connection)
    except (OSError, WebSocketException) as error:
        raise DemoHomeFailed(
            problem=f"closed its WebSocket ({error!r})", remedy="start it again"
        ) from error


async def _send(connection: ClientConnection, message: dict[str, Any]) -> None:
    await connection.send(json.dumps(message))


async def _receive(connection: ClientConnection) -> dict[str, Any]:
    async with asyncio.timeout(_TIMEOUT_S):
        message: dict[str, Any] = json.loads(await connection.recv())
    return message
