"""Onboarding of a new Home Assistant: owner, rooms and a long-lived token in a file.

Performs the steps of the onboarding pages. Repeatable: a valid token is left as it is, a lost one
is replaced with the stored password.

API: https://developers.home-assistant.io/docs/auth_api
"""

from __future__ import annotations

import asyncio
import itertools
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx
import structlog
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from barnabee.up.demo_home import config
from barnabee.up.demo_home.config import DemoHome, DemoHomeFailed

OWNER = "barnabee"
_TOKEN_NAME = "BarnabeeNet"  # noqa: S105 - a name, not a secret
_TOKEN_DAYS = 3650
_POLL_S = 0.1
_REQUEST_TIMEOUT_S = 10
_START_OVER = "delete its directory {directory} to start over with an empty home"

_log = structlog.get_logger()


async def ensure_token(home: DemoHome, token_file: Path, *, limit_s: float = 120) -> None:
    """Onboard the home if necessary and write a valid token into `token_file`.

    Waits until Home Assistant has started. Raises DemoHomeFailed when it has not within `limit_s`,
    or when its owner is not ours.
    """
    try:
        async with asyncio.timeout(limit_s), _open_client(home) as http:
            await _wait_for_answer(http)
            token = config.read_secret(token_file)
            if token is not None and await _is_running(http, token):
                _log.info("demo_home_token_kept", token_file=str(token_file))
                return
            await _make_token(http, home, token_file)
    except TimeoutError as error:
        raise DemoHomeFailed(
            problem=f"was not ready within {limit_s:g} s at {home.url}",
            remedy=f"see {home.output_file}",
        ) from error
    except httpx.HTTPError as error:
        raise DemoHomeFailed(
            problem=f"gave an unexpected answer at {home.url} ({error!r})",
            remedy=f"see {home.output_file}",
        ) from error


async def _make_token(http: httpx.AsyncClient, home: DemoHome, token_file: Path) -> None:
    access = await _get_owner_access(http, home)
    if not await _is_running(http, access):
        raise _fail(home, "did not accept the access token that it had just issued")
    async with open_connection(home.websocket_url, access) as connection:
        await assign_rooms(connection)
        token = await _create_token(connection)
    config.write_secret(token_file, token)
    _log.info("demo_home_token_made", token_file=str(token_file))


def _open_client(home: DemoHome) -> httpx.AsyncClient:
    # trust_env: the proxies of the environment are not for loopback.
    return httpx.AsyncClient(base_url=home.url, timeout=_REQUEST_TIMEOUT_S, trust_env=False)


async def _wait_for_answer(http: httpx.AsyncClient) -> None:
    while True:
        try:
            await http.get("api/onboarding")
        except httpx.TransportError:
            await asyncio.sleep(_POLL_S)  # the port opens a second or more after the start
        else:
            return


async def _list_steps(http: httpx.AsyncClient) -> set[str]:
    answer = await http.get("api/onboarding")
    if answer.status_code == HTTPStatus.NOT_FOUND:
        return set()  # it was onboarded in an earlier run
    return {step["step"] for step in answer.raise_for_status().json() if not step["done"]}


async def _is_running(http: httpx.AsyncClient, token: str) -> bool:
    """Wait until every integration is loaded; return False if the token is not valid."""
    while True:
        answer = await http.get("api/config", headers=_bearer(token))
        if answer.status_code == HTTPStatus.UNAUTHORIZED:
            return False
        answer.raise_for_status()
        if answer.json()["state"] == "RUNNING":
            return True
        await asyncio.sleep(_POLL_S)


async def _get_owner_access(http: httpx.AsyncClient, home: DemoHome) -> str:
    """Return a short-lived access token of the owner, who is created if necessary."""
    steps = await _list_steps(http)
    code = await (_create_owner if "user" in steps else _log_in)(http, home)
    tokens = await http.post(
        "auth/token",
        data={"grant_type": "authorization_code", "code": code, "client_id": home.url},
    )
    access: str = tokens.raise_for_status().json()["access_token"]
    await _complete_steps(http, home, access, steps - {"user"})
    return access


async def _create_owner(http: httpx.AsyncClient, home: DemoHome) -> str:
    password = secrets.token_urlsafe(24)
    # Stored first: without its password the owner's account could not be used again.
    config.write_secret(home.password_file, password)
    answer = await http.post(
        "api/onboarding/users",
        json={
            "client_id": home.url,
            "name": "BarnabeeNet",
            "username": OWNER,
            "password": password,
            "language": "en",
        },
    )
    code: str = answer.raise_for_status().json()["auth_code"]
    return code


async def _log_in(http: httpx.AsyncClient, home: DemoHome) -> str:
    password = config.read_secret(home.password_file)
    if password is None:
        raise _fail(home, f"has an owner, but {home.password_file} is missing")
    flow = await http.post(
        "auth/login_flow",
        json={
            "client_id": home.url,
            "redirect_uri": home.url,
            "handler": ["homeassistant", None],
        },
    )
    flow_id = flow.raise_for_status().json()["flow_id"]
    answer = await http.post(
        f"auth/login_flow/{flow_id}",
        json={"client_id": home.url, "username": OWNER, "password": password},
    )
    outcome: dict[str, Any] = answer.raise_for_status().json()
    if outcome["type"] != "create_entry":
        raise _fail(home, f"does not accept the password in {home.password_file}")
    code: str = outcome["result"]
    return code


async def _complete_steps(
    http: httpx.AsyncClient, home: DemoHome, access: str, steps: set[str]
) -> None:
    """Complete the remaining onboarding steps, so that the browser does not show them."""
    for step in sorted(steps):
        answer = await http.post(
            f"api/onboarding/{step}",
            json={"client_id": home.url, "redirect_uri": home.url},
            headers=_bearer(access),
        )
        # core_config is marked as done and then answers 500: it also sets up a weather service and
        # an internet radio, whose packages are not installed here.
        if step != "core_config":
            answer.raise_for_status()


async def _create_token(connection: WebSocketConnection) -> str:
    """Return a new long-lived token; the previous one is revoked, because names are unique."""
    for token in await connection.call("auth/refresh_tokens"):
        if token["client_name"] == _TOKEN_NAME:
            await connection.call("auth/delete_refresh_token", refresh_token_id=token["id"])
    token = await connection.call(
        "auth/long_lived_access_token", client_name=_TOKEN_NAME, lifespan=_TOKEN_DAYS
    )
    return str(token)


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def _fail(home: DemoHome, problem: str) -> DemoHomeFailed:
    return DemoHomeFailed(problem=problem, remedy=_START_OVER.format(directory=home.directory))


ROOM_BY_ENTITY = MappingProxyType(
    {
        "light.bedroom_light": "Bedroom",
        "light.hall_light": "Hall",
        "light.kitchen_light": "Kitchen",
        "light.living_room_lamp": "Living Room",
        "switch.coffee_machine": "Kitchen",
    }
)


async def assign_rooms(connection: WebSocketConnection) -> None:
    """Create the rooms that are missing and put every device into its room."""
    areas = await connection.call("config/area_registry/list")
    area_ids = {area["name"]: area["area_id"] for area in areas}
    for room in sorted(set(ROOM_BY_ENTITY.values()) - set(area_ids)):
        area = await connection.call("config/area_registry/create", name=room)
        area_ids[room] = area["area_id"]
    for entity_id, room in ROOM_BY_ENTITY.items():
        await connection.call(
            "config/entity_registry/update", entity_id=entity_id, area_id=area_ids[room]
        )


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
