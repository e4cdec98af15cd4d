"""Client of Home Assistant: one persistent WebSocket with concurrent requests.

Implements the part of the WebSocket API that is needed: authentication, then
`conversation/process` (developers.home-assistant.io/docs/api/websocket and
.../intent_conversation_api). A lost connection is reopened with back-off; pending requests fail at
once.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable, Mapping
from typing import Any, cast
from urllib.parse import urlsplit, urlunsplit

import structlog
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from barnabee.core.backoff import jittered_backoff_s
from barnabee.core.errors import DependencyDown, SettingInvalid, TimedOut
from barnabee.understanding.interfaces import HomeAnswer, HomeKind

NAME = "home_assistant"
FIRST_BACKOFF_S, MAX_BACKOFF_S = 0.25, 5.0
# Home Assistant bans an address after a few refused tokens, so retry rarely.
REFUSED_DELAY_S = 60.0
PING_S = 2.0  # interval and timeout: a dead connection is detected within 4 s
OPEN_TIMEOUT_S = 5.0
_KINDS = frozenset({"action_done", "query_answer", "error"})

log = structlog.get_logger()


class TokenRefused(Exception):
    """The token is missing or Home Assistant refused it."""


class HomeAssistant:
    """Persistent connection; call `start` once and `aclose` at the end."""

    def __init__(
        self,
        url: str,
        token: Callable[[], str],
        *,
        timeout_s: float = 5.0,
        pause_s: Callable[[int], float] | None = None,
    ) -> None:
        """`token` is called at every attempt, so that a rotated token is used.

        `timeout_s` limits one request; `pause_s` maps failed attempts to the wait in seconds.
        """
        self._url = make_websocket_url(url)
        self._token = token
        self._timeout_s = timeout_s
        self._pause_s = pause_s or reconnect_delay_s
        self._ids = itertools.count(1)
        self._pending: dict[int, asyncio.Future[dict[str, Any]]] = {}
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

    async def ready(self) -> None:
        """Raise DependencyDown unless Home Assistant is connected."""
        if self._connection is None:
            raise self._make_error()

    async def converse(
        self, text: str, *, conversation_id: str | None = None, language: str = "en"
    ) -> HomeAnswer:
        """Send `text` to Home Assistant's conversation agent and return the answer.

        Raises DependencyDown without a connection (`sent=True` when the request was sent and may
        have been executed), TimedOut without an answer.
        """
        request = {"type": "conversation/process", "text": text, "language": language}
        if conversation_id is not None:
            request["conversation_id"] = conversation_id
        reply = await self._request(request)
        if not reply.get("success"):
            code = _table(reply, "error").get("code", "unknown")
            log.warning("home_assistant_refused", code=str(code))
            return HomeAnswer("error", "", str(code))
        return parse_answer(_table(reply, "result"))

    async def read_notifications(self) -> dict[str, str]:
        """Return the titles of the active persistent notifications by id."""
        reply = await self._request({"type": "persistent_notification/get"})
        result = reply.get("result")
        return {
            str(notification.get("notification_id")): str(notification.get("title"))
            for notification in (result if isinstance(result, list) else [])
        }

    async def _request(self, message: Mapping[str, Any]) -> dict[str, Any]:
        connection = self._connection
        if connection is None:
            raise self._make_error()
        number = next(self._ids)
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._pending[number] = future
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
            reply = _decoded(await connection.recv())
            if reply.get("type") == "auth_required":
                await connection.send(json.dumps({"type": "auth", "access_token": token}))
                reply = _decoded(await connection.recv())
        if reply.get("type") == "auth_invalid":
            raise TokenRefused("it refused the token")
        if reply.get("type") != "auth_ok":
            msg = "it does not speak Home Assistant's protocol"
            raise ValueError(msg)

    async def _listen(self, connection: ClientConnection) -> None:
        self._connection = connection
        log.info("home_assistant_connected")
        async for frame in connection:
            try:
                message = _decoded(frame)
            except ValueError as error:  # one bad frame must not fail pending requests
                log.warning("home_assistant_garbage", code="bad_request", reason=str(error))
                continue
            number = message.get("id")
            future = self._pending.get(number) if isinstance(number, int) else None
            if future is not None and not future.done():
                future.set_result(message)

    def _record_disconnect(self, reason: str) -> None:
        if self._connection is not None or reason != self._reason:
            log.warning("home_assistant_away", code="dependency_down", reason=reason)
        self._connection, self._reason = None, reason
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


def parse_answer(result: Mapping[str, Any]) -> HomeAnswer:
    """Convert the result of `conversation/process`."""
    response = _table(result, "response")
    data = _table(response, "data")
    kind = str(response.get("response_type"))
    speech = _table(_table(response, "speech"), "plain").get("speech")
    targets = data.get("success")
    actions = tuple(
        {key: _text(target.get(key, "")) for key in ("type", "name", "id")}
        for target in (targets if isinstance(targets, list) else [])
        if isinstance(target, dict)
    )
    return HomeAnswer(
        kind=cast(HomeKind, kind) if kind in _KINDS else "error",
        speech=_text(speech) if isinstance(speech, str) else "",
        code=str(data.get("code", "unknown")) if kind not in _KINDS - {"error"} else None,
        actions=actions if kind == "action_done" else (),
    )


def _decoded(frame: str | bytes) -> dict[str, Any]:
    message = json.loads(frame)  # its errors are ValueErrors, UnicodeDecodeError too
    if not isinstance(message, dict):
        msg = f"a frame is a {type(message).__name__}, not an object"
        raise ValueError(msg)  # noqa: TRY004 - the frame's content is wrong, not a type of ours
    return message


def _text(value: object) -> str:
    """Replace lone surrogates, which JSON may contain and UTF-8 cannot encode."""
    return str(value).encode("utf-8", "replace").decode()


def _table(table: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = table.get(key)
    return value if isinstance(value, dict) else {}
