"""Home Assistant's WebSocket API: the connection, and the names of floors, rooms and devices.

API: https://developers.home-assistant.io/docs/api/websocket
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from barnabee.up.demo_home.config import DemoHomeFailed

_ASSISTANT = "conversation"
_SHOPPING = ("Milk", "Bread", "Apples")
_FIRST_WITH_FLOORS = (2024, 4)
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


# ---- floors, rooms and devices ------------------------------------------------------------------


async def name_rooms(connection: WebSocketConnection, home: Mapping[str, Any]) -> None:
    """Create the floors and rooms of home.toml that are missing, and put each device into its room.

    Every device gets its aliases and is exposed to Assist. The shopping list is filled once, and
    the person that onboarding made of the owner is removed.
    """
    version = (await connection.call("get_config"))["version"].split(".")
    rooms = {key: {"floor": None} | room for key, room in home["room"].items()}
    floor_ids: Mapping[str | None, str] = {}
    if (int(version[0]), int(version[1])) >= _FIRST_WITH_FLOORS:
        floor_ids = await _create_missing(connection, "floor", home["floor"])
    for room in rooms.values():
        if floor_id := floor_ids.get(room.pop("floor")):
            room["floor_id"] = floor_id
    area_ids = await _create_missing(connection, "area", rooms)
    for entity_id, device in home["device"].items():
        await connection.call(
            "config/entity_registry/update",
            entity_id=entity_id,
            area_id=area_ids.get(device.get("room")),
            aliases=device.get("aliases", []),
        )
    await connection.call(
        "homeassistant/expose_entity",
        assistants=[_ASSISTANT],
        entity_ids=[*home["device"], *home["exposed"]],
        should_expose=True,
    )
    await _fill_shopping_list(connection)
    for person in (await connection.call("person/list"))["storage"]:
        await connection.call("person/delete", person_id=person["id"])


async def _create_missing(
    connection: WebSocketConnection, registry: str, wanted: Mapping[str, Mapping[str, Any]]
) -> dict[str | None, str]:
    """Create those entries of a registry whose names are missing; return all ids by key."""
    command, key = f"config/{registry}_registry", f"{registry}_id"
    ids = {entry["name"]: entry[key] for entry in await connection.call(f"{command}/list")}
    for entry in wanted.values():
        if entry["name"] not in ids:
            ids[entry["name"]] = (await connection.call(f"{command}/create", **entry))[key]
        else:
            await connection.call(f"{command}/update", **{key: ids[entry["name"]]}, **entry)
    return {name: ids[entry["name"]] for name, entry in wanted.items()}


async def _fill_shopping_list(connection: WebSocketConnection) -> None:
    if not await connection.call("shopping_list/items"):
        for name in _SHOPPING:
            await connection.call("shopping_list/items/add", name=name)
