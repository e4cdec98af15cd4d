"""From a Home Assistant that has just been started to a long-lived token in a file.

Does what a person does in the browser: create the owner, answer the remaining questions, make a
token. Safe to repeat: a token that still works is left alone; one that is lost is made anew with
the stored password. It must not know how Home Assistant is started.

API: https://developers.home-assistant.io/docs/auth_api
"""

from __future__ import annotations

import asyncio
import secrets
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx
import structlog

from barnabee.up.demo_home import rooms, secret_file
from barnabee.up.demo_home.config import Home
from barnabee.up.demo_home.errors import DemoHomeFailed
from barnabee.up.demo_home.websocket import Connection, open_connection

OWNER = "barnabee"
_TOKEN_NAME = "BarnabeeNet"  # noqa: S105 - a name, not a secret
_TOKEN_DAYS = 3650
_POLL_S = 0.1
_REQUEST_TIMEOUT_S = 10
_START_OVER = "delete its directory {directory} to start over with an empty home"

_log = structlog.get_logger()


async def ensure_token(home: Home, token_file: Path, *, limit_s: float = 120) -> None:
    """See to it that the home is onboarded and `token_file` holds a token that works.

    Waits until Home Assistant has finished starting; DemoHomeFailed where it does not within
    `limit_s`, or where it belongs to somebody else.
    """
    try:
        async with asyncio.timeout(limit_s), _client(home) as http:
            await _until_answering(http)
            token = secret_file.read(token_file)
            if token is not None and await _is_running(http, token):
                _log.info("demo_home_token_kept", token_file=str(token_file))
                return
            await _make_token(http, home, token_file)
    except TimeoutError as error:
        raise DemoHomeFailed(
            problem=f"was not ready within {limit_s:g} s at {home.url}",
            remedy=f"look into {home.output_file}",
        ) from error
    except httpx.HTTPError as error:
        raise DemoHomeFailed(
            problem=f"does not answer at {home.url} as Home Assistant does ({error!r})",
            remedy=f"look into {home.output_file}",
        ) from error


async def _make_token(http: httpx.AsyncClient, home: Home, token_file: Path) -> None:
    access = await _owner_access(http, home)
    if not await _is_running(http, access):
        raise _foreign(home, "did not accept the access it had just given")
    async with open_connection(home.websocket_url, access) as connection:
        await rooms.arrange(connection)
        token = await _long_lived_token(connection)
    secret_file.write(token_file, token)
    _log.info("demo_home_token_made", token_file=str(token_file))


def _client(home: Home) -> httpx.AsyncClient:
    # trust_env: no proxy from the environment stands between us and loopback.
    return httpx.AsyncClient(base_url=home.url, timeout=_REQUEST_TIMEOUT_S, trust_env=False)


async def _until_answering(http: httpx.AsyncClient) -> None:
    while True:
        try:
            await http.get("api/onboarding")
        except httpx.TransportError:
            await asyncio.sleep(_POLL_S)  # the port opens a second or more after the start
        else:
            return


async def _steps_left(http: httpx.AsyncClient) -> set[str]:
    answer = await http.get("api/onboarding")
    if answer.status_code == HTTPStatus.NOT_FOUND:
        return set()  # a home that was onboarded in an earlier run does not ask any more
    return {step["step"] for step in answer.raise_for_status().json() if not step["done"]}


async def _is_running(http: httpx.AsyncClient, token: str) -> bool:
    """Return whether the token works, but not before every integration has been loaded."""
    while True:
        answer = await http.get("api/config", headers=_bearer(token))
        if answer.status_code == HTTPStatus.UNAUTHORIZED:
            return False
        answer.raise_for_status()
        if answer.json()["state"] == "RUNNING":
            return True
        await asyncio.sleep(_POLL_S)


async def _owner_access(http: httpx.AsyncClient, home: Home) -> str:
    """Return a short-lived access token of the owner, who is created where there is none."""
    left = await _steps_left(http)
    code = await (_create_owner if "user" in left else _log_in)(http, home)
    tokens = await http.post(
        "auth/token",
        data={"grant_type": "authorization_code", "code": code, "client_id": home.url},
    )
    access: str = tokens.raise_for_status().json()["access_token"]
    await _answer_steps(http, home, access, left - {"user"})
    return access


async def _create_owner(http: httpx.AsyncClient, home: Home) -> str:
    password = secrets.token_urlsafe(24)
    # Stored first: an owner whose password nobody knows could not be mended.
    secret_file.write(home.password_file, password)
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


async def _log_in(http: httpx.AsyncClient, home: Home) -> str:
    password = secret_file.read(home.password_file)
    if password is None:
        raise _foreign(home, f"has an owner, but {home.password_file} is missing")
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
        raise _foreign(home, f"does not accept the password in {home.password_file}")
    code: str = outcome["result"]
    return code


async def _answer_steps(http: httpx.AsyncClient, home: Home, access: str, steps: set[str]) -> None:
    """Answer the onboarding questions that are left, so that the browser does not ask them."""
    for step in sorted(steps):
        answer = await http.post(
            f"api/onboarding/{step}",
            json={"client_id": home.url, "redirect_uri": home.url},
            headers=_bearer(access),
        )
        # core_config is marked as done and then answers 500: it goes on to set up a weather
        # service and an internet radio, whose packages this home leaves out on purpose.
        if step != "core_config":
            answer.raise_for_status()


async def _long_lived_token(connection: Connection) -> str:
    """Return a new token; the one it replaces is revoked, for names are unique."""
    for token in await connection.call("auth/refresh_tokens"):
        if token["client_name"] == _TOKEN_NAME:
            await connection.call("auth/delete_refresh_token", refresh_token_id=token["id"])
    token = await connection.call(
        "auth/long_lived_access_token", client_name=_TOKEN_NAME, lifespan=_TOKEN_DAYS
    )
    return str(token)


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def _foreign(home: Home, problem: str) -> DemoHomeFailed:
    return DemoHomeFailed(problem=problem, remedy=_START_OVER.format(directory=home.directory))
