"""Home Assistant's WebSocket API as one call at a time, which is all that setting up needs.

Format: https://developers.home-assistant.io/docs/api/websocket. It must not know any command.
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

from barnabee.up.demo_home.errors import DemoHomeFailed

_TIMEOUT_S = 10


@dataclass
class Connection:
    """An authenticated connection."""

    _link: ClientConnection
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    async def call(self, command: str, **fields: object) -> Any:
        """Return the command's result; DemoHomeFailed where Home Assistant refuses it."""
        number = next(self._numbers)
        await _send(self._link, {"id": number, "type": command, **fields})
        while (answer := await _receive(self._link)).get("id") != number:
            pass  # an event; nothing here subscribes to any
        if not answer["success"]:
            raise DemoHomeFailed(
                problem=f"refused `{command}` ({answer['error']['message']})",
                remedy="look into home-assistant.log in its directory",
            )
        return answer["result"]


@asynccontextmanager
async def open_connection(url: str, token: str) -> AsyncIterator[Connection]:
    """Connect and authenticate with an access token, short- or long-lived."""
    try:
        # No proxy and no size limit: it is our own process on loopback.
        async with connect(url, proxy=None, open_timeout=_TIMEOUT_S, max_size=None) as link:
            await _receive(link)
            await _send(link, {"type": "auth", "access_token": token})
            if (answer := await _receive(link))["type"] != "auth_ok":
                raise DemoHomeFailed(
                    problem=f"did not accept a token ({answer.get('message')})",
                    remedy="delete the token file and start it again",
                )
            yield Connection(link)
    except (OSError, WebSocketException) as error:
        raise DemoHomeFailed(
            problem=f"closed its WebSocket ({error!r})", remedy="start it again"
        ) from error


async def _send(link: ClientConnection, message: dict[str, Any]) -> None:
    await link.send(json.dumps(message))


async def _receive(link: ClientConnection) -> dict[str, Any]:
    async with asyncio.timeout(_TIMEOUT_S):
        message: dict[str, Any] = json.loads(await link.recv())
    return message
