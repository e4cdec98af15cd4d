"""Onboarding of a new Home Assistant: owner, rooms and a long-lived token in a file.

Performs the steps of the onboarding pages. Repeatable: a valid token is left as it is, a lost one
is replaced with the stored password, rooms are named again only after home.toml has changed.

API: https://developers.home-assistant.io/docs/auth_api
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import tomllib
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx
import structlog

from barnabee.up.demo_home import config, websocket_api
from barnabee.up.demo_home.config import DemoHome, DemoHomeFailed
from barnabee.up.demo_home.websocket_api import WebSocketConnection, open_connection

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
                await _name_rooms(http, home, token)
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
        token = await _create_token(connection)
    await _name_rooms(http, home, token)
    config.write_secret(token_file, token)
    _log.info("demo_home_token_made", token_file=str(token_file))


async def _name_rooms(http: httpx.AsyncClient, home: DemoHome, token: str) -> None:
    """Name floors, rooms and devices unless that was done with the present home.toml."""
    description = config.read_home_file()
    digest = hashlib.sha256(description.encode()).hexdigest()
    if config.read_secret(home.named_file) == digest:
        return
    await _add_shopping_list(http, token)
    async with open_connection(home.websocket_url, token) as connection:
        await websocket_api.name_rooms(connection, tomllib.loads(description))
    config.write_secret(home.named_file, digest)


async def _add_shopping_list(http: httpx.AsyncClient, token: str) -> None:
    """Add the integration by its configuration flow: it cannot be configured in YAML."""
    flows, headers = "api/config/config_entries/flow", _bearer(token)
    answer = await http.post(flows, json={"handler": "shopping_list"}, headers=headers)
    flow: dict[str, Any] = answer.raise_for_status().json()
    if flow["type"] == "form":  # otherwise it has been added before
        (await http.post(f"{flows}/{flow['flow_id']}", json={}, headers=headers)).raise_for_status()


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
