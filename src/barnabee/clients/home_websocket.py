"""WebSocket connection to Home Assistant: authentication, concurrent requests and subscriptions.

API: https://developers.home-assistant.io/docs/api/websocket. A lost connection is reopened with
back-off; pending requests fail at once.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable, Coroutine, Mapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import structlog
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from barnabee.core.errors import DependencyDown, SettingInvalid, TimedOut
from barnabee.core.rate_limit import jittered_backoff_s

NAME = "home_assistant"
FIRST_BACKOFF_S, MAX_BACKOFF_S = 0.25, 5.0
# Home Assistant bans an address after a few refused tokens, so retry rarely.
REFUSED_DELAY_S = 60.0
PING_S = 2.0  # interval and timeout: a dead connection is detected within 4 s
OPEN_TIMEOUT_S = 5.0
MAX_MESSAGE_BYTES = 64 * 2**20  # the registry of 1000 entities has about 1 MB

EventHandler = Callable[[Mapping[str, Any]], None]

log = structlog.get_logger()


class TokenRefused(Exception):
    """The token is missing or Home Assistant refused it."""


class HomeWebSocket:
    """Persistent connection; call `start` once and `aclose` at the end."""

    def __init__(
        self,
        url: str,
        token: Callable[[], str],
        on_connected: Callable[[], Coroutine[Any, Any, None]],
        *,
        timeout_s: float,
        pause_s: Callable[[int], float] | None = None,
    ) -> None:
        """`token` is called at every attempt, so that a rotated token is used.

        `on_connected` runs for as long as a connection lasts. `timeout_s` limits one request;
        `pause_s` maps failed attempts to the wait in seconds.
        """
        self._url = make_websocket_url(url)
        self._token = token
        self._on_connected = on_connected
        self._timeout_s = timeout_s
        self._pause_s = pause_s or reconnect_delay_s
        self._ids = itertools.count(1)
        self._pending: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._handlers: dict[int, EventHandler] = {}
        self._connection: ClientConnection | None = None
        self._reason = "not connected yet"
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start the connection task; returns at once."""
        if self._task is None:
            self._task = asyncio.create_task(self._stay_connected(), name=NAME)

    async def aclose(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None

    def require_connection(self) -> ClientConnection:
        """Return the connection; raises DependencyDown without one."""
        if self._connection is None:
            raise self._make_error()
        return self._connection

    async def request(
        self, message: Mapping[str, Any], on_event: EventHandler | None = None
    ) -> dict[str, Any]:
        """Send a request and return the message that answers it, which may be a failure.

        `on_event` gets the request's events until the connection is lost. Raises DependencyDown
        without a connection (`sent=True` when the request was sent and may have been executed),
        TimedOut without an answer.
        """
        connection = self.require_connection()
        number = next(self._ids)
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._pending[number] = future
        if on_event is not None:
            self._handlers[number] = on_event
        try:
            async with asyncio.timeout(self._timeout_s):
                await connection.send(json.dumps({"id": number, **message}))
                return await future
        except TimeoutError as error:
            raise TimedOut(what="Home Assistant", limit_ms=int(self._timeout_s * 1000)) from error
        except ConnectionClosed as error:
            raise self._make_error() from error
        finally:
            self._pending.pop(number, None)

    async def _stay_connected(self) -> None:
        failures = 0
        while True:
            wait_s = None
            token = self._token()
            try:
                async with connect(
                    self._url,
                    proxy=None,  # on the local network
                    open_timeout=OPEN_TIMEOUT_S,
                    ping_interval=PING_S,
                    ping_timeout=PING_S,
                    close_timeout=1,
                    max_size=MAX_MESSAGE_BYTES,
                ) as connection:
                    await self._authenticate(connection, token)
                    failures = 0
                    await self._listen(connection)
                self._record_disconnect("Home Assistant closed the connection")
            except TokenRefused as error:
                self._record_disconnect(str(error))
                wait_s = REFUSED_DELAY_S if token else None
            except (OSError, WebSocketException, ValueError) as error:  # TimeoutError is an OSError
                self._record_disconnect(str(error) or type(error).__name__)
            except asyncio.CancelledError:
                self._record_disconnect("this service is stopping")
                raise
            failures += 1
            await asyncio.sleep(wait_s or self._pause_s(failures))

    async def _authenticate(self, connection: ClientConnection, token: str) -> None:
        if not token:
            raise TokenRefused("the credential `home_assistant_token` is empty")
        async with asyncio.timeout(OPEN_TIMEOUT_S):
            reply = _decode(await connection.recv())
            if reply.get("type") == "auth_required":
                await connection.send(json.dumps({"type": "auth", "access_token": token}))
                reply = _decode(await connection.recv())
        if reply.get("type") == "auth_invalid":
            raise TokenRefused("it refused the token")
        if reply.get("type") != "auth_ok":
            msg = "it does not speak Home Assistant's protocol"
            raise ValueError(msg)

    async def _listen(self, connection: ClientConnection) -> None:
        self._connection = connection
        log.info("home_assistant_connected")
        task = asyncio.create_task(self._on_connected(), name=f"{NAME} state")
        try:
            async for frame in connection:
                try:
                    self._dispatch(_decode(frame))
                except ValueError as error:  # one bad frame must not fail pending requests
                    log.warning("home_assistant_garbage", code="bad_request", reason=str(error))
        finally:
            task.cancel()
            await asyncio.wait([task])

    def _dispatch(self, message: dict[str, Any]) -> None:
        number = message.get("id")
        if not isinstance(number, int):
            return
        if message.get("type") == "event":
            handler, event = self._handlers.get(number), message.get("event")
            if handler is not None and isinstance(event, dict):
                handler(event)
            return
        future = self._pending.get(number)
        if future is not None and not future.done():
            future.set_result(message)

    def _record_disconnect(self, reason: str) -> None:
        if self._connection is not None or reason != self._reason:
            log.warning("home_assistant_away", code="dependency_down", reason=reason)
        self._connection, self._reason = None, reason
        self._handlers.clear()
        for future in self._pending.values():
            if not future.done():
                future.set_exception(self._make_error(sent=True))

    def _make_error(self, *, sent: bool = False) -> DependencyDown:
        return DependencyDown(dependency=NAME, reason=self._reason, sent=sent)


def make_websocket_url(url: str) -> str:
    """Return the WebSocket URL for http(s)://host:port; SettingInvalid for any other URL."""
    parts = urlsplit(url)
    scheme = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}.get(parts.scheme)
    if scheme is None or not parts.hostname:
        hint = "write http://host:8123"
        raise SettingInvalid(name="HOME_ASSISTANT_URL", reason=f"it is {url!r}", hint=hint)
    path = parts.path.rstrip("/").removesuffix("/api/websocket") + "/api/websocket"
    return urlunsplit((scheme, parts.netloc, path, "", ""))


def reconnect_delay_s(failures: int) -> float:
    return jittered_backoff_s(failures, FIRST_BACKOFF_S, MAX_BACKOFF_S)


def _decode(frame: str | bytes) -> dict[str, Any]:
    message = json.loads(frame)  # its errors are ValueErrors, UnicodeDecodeError too
    if not isinstance(message, dict):
        msg = f"a frame is a {type(message).__name__}, not an object"
        raise ValueError(msg)  # noqa: TRY004 - the frame's content is wrong, not a type of ours
    return message


def get_table(table: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """Return a table inside of another, {} where it is missing or something else."""
    value = table.get(key)
    return value if isinstance(value, dict) else {}


def clean_text(value: object) -> str:
    """Replace lone surrogates, which JSON may contain and UTF-8 cannot encode."""
    return str(value).encode("utf-8", "replace").decode()
