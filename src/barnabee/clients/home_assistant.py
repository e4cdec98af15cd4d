"""The house: one WebSocket to Home Assistant, kept open, many requests on it at a time.

Speaks the part of its WebSocket API that is needed (developers.home-assistant.io/docs/api/websocket
and .../intent_conversation_api): authentication, then `conversation/process`. A lost link is built
again with growing pauses; whoever waits for an answer on it is told at once.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from collections.abc import Callable, Mapping
from typing import Any, cast
from urllib.parse import urlsplit, urlunsplit

import structlog
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from barnabee.core.errors import DependencyDown, SettingInvalid, TimedOut
from barnabee.understanding.interfaces import HomeAnswer, HomeKind

NAME = "home_assistant"
PAUSE_FIRST_S, PAUSE_MOST_S = 0.25, 5.0
# Home Assistant counts refused tokens and bans the address after a few: ask rarely.
PAUSE_REFUSED_S = 60.0
PING_S = 2.0  # with as much time for the answer, a dead link is seen within 4 s
OPEN_TIMEOUT_S = 5.0
_KINDS = frozenset({"action_done", "query_answer", "error"})

log = structlog.get_logger()


class Refused(Exception):
    """The token is missing or not accepted."""


class HomeAssistant:
    """The connection; `start` it once, `aclose` it at the end."""

    def __init__(
        self,
        url: str,
        token: Callable[[], str],
        *,
        timeout_s: float = 5.0,
        pause_s: Callable[[int], float] | None = None,
    ) -> None:
        """Remember where; `token` is asked at every attempt.

        `timeout_s` bounds an answer, `pause_s` gives the wait after so many failed attempts.
        """
        self._url = websocket_url(url)
        self._token = token
        self._timeout_s = timeout_s
        self._pause_s = pause_s or pause
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._link: ClientConnection | None = None
        self._reason = "it was not connected yet"
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to keep the connection; returns at once."""
        if self._task is None:
            self._task = asyncio.create_task(self._stay_connected(), name=NAME)

    async def aclose(self) -> None:
        """Close the connection for good."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None

    async def ready(self) -> None:
        """Return when Home Assistant is connected; DependencyDown otherwise."""
        if self._link is None:
            raise self._down()

    async def converse(
        self, text: str, *, conversation_id: str | None = None, language: str = "en"
    ) -> HomeAnswer:
        """Return what Home Assistant makes of `text`.

        DependencyDown when it is away (with `sent=True` when the request had gone out, so that it
        may have been carried out); TimedOut when it does not answer.
        """
        request = {"type": "conversation/process", "text": text, "language": language}
        if conversation_id is not None:
            request["conversation_id"] = conversation_id
        reply = await self._request(request)
        if not reply.get("success"):
            code = _table(reply, "error").get("code", "unknown")
            log.warning("home_assistant_refused", code=str(code))
            return HomeAnswer("error", "", str(code))
        return answer_of(_table(reply, "result"))

    async def notifications(self) -> dict[str, str]:
        """Return the titles of the notifications that it shows now, by their ids."""
        reply = await self._request({"type": "persistent_notification/get"})
        found = reply.get("result")
        return {
            str(one.get("notification_id")): str(one.get("title"))
            for one in (found if isinstance(found, list) else [])
        }

    async def _request(self, message: Mapping[str, Any]) -> dict[str, Any]:
        link = self._link
        if link is None:
            raise self._down()
        number = next(self._ids)
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        try:
            async with asyncio.timeout(self._timeout_s):
                await link.send(json.dumps({"id": number, **message}))
                return await future
        except TimeoutError as error:
            raise TimedOut(what="Home Assistant", limit_ms=int(self._timeout_s * 1000)) from error
        except ConnectionClosed as error:
            raise self._down() from error
        finally:
            self._waiting.pop(number, None)

    async def _stay_connected(self) -> None:
        failures = 0
        while True:
            wait_s = None
            token = self._token()
            try:
                async with connect(
                    self._url,
                    proxy=None,  # the house is near
                    open_timeout=OPEN_TIMEOUT_S,
                    ping_interval=PING_S,
                    ping_timeout=PING_S,
                    close_timeout=1,
                ) as link:
                    await self._authenticate(link, token)
                    failures = 0
                    await self._listen(link)
                self._lost("it closed the connection")
            except Refused as error:
                self._lost(str(error))
                wait_s = PAUSE_REFUSED_S if token else None
            except (OSError, WebSocketException, ValueError) as error:  # TimeoutError is an OSError
                self._lost(str(error) or type(error).__name__)
            except asyncio.CancelledError:
                self._lost("this program ends")
                raise
            failures += 1
            await asyncio.sleep(wait_s or self._pause_s(failures))

    async def _authenticate(self, link: ClientConnection, token: str) -> None:
        if not token:
            raise Refused("there is no token: put it into the credential `home_assistant_token`")
        async with asyncio.timeout(OPEN_TIMEOUT_S):
            first = _decoded(await link.recv())
            if first.get("type") == "auth_required":
                await link.send(json.dumps({"type": "auth", "access_token": token}))
                first = _decoded(await link.recv())
        if first.get("type") == "auth_invalid":
            raise Refused("it refused the token")
        if first.get("type") != "auth_ok":
            msg = "it does not speak Home Assistant's protocol"
            raise ValueError(msg)

    async def _listen(self, link: ClientConnection) -> None:
        self._link = link
        log.info("home_assistant_connected")
        async for frame in link:
            try:
                message = _decoded(frame)
            except ValueError as error:  # one bad frame is no reason to drop what is in flight
                log.warning("home_assistant_garbage", code="bad_request", reason=str(error))
                continue
            number = message.get("id")
            future = self._waiting.get(number) if isinstance(number, int) else None
            if future is not None and not future.done():
                future.set_result(message)

    def _lost(self, reason: str) -> None:
        if self._link is not None or reason != self._reason:
            log.warning("home_assistant_away", code="dependency_down", reason=reason)
        self._link, self._reason = None, reason
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(self._down(sent=True))

    def _down(self, *, sent: bool = False) -> DependencyDown:
        return DependencyDown(dependency=NAME, reason=self._reason, sent=sent)


def websocket_url(url: str) -> str:
    """Return the address of the WebSocket of a Home Assistant at http(s)://host:port."""
    parts = urlsplit(url)
    scheme = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}.get(parts.scheme)
    if scheme is None or not parts.hostname:
        hint = "write http://host:8123"
        raise SettingInvalid(name="HOME_ASSISTANT_URL", reason=f"it is {url!r}", hint=hint)
    path = parts.path.rstrip("/").removesuffix("/api/websocket") + "/api/websocket"
    return urlunsplit((scheme, parts.netloc, path, "", ""))


def pause(failures: int) -> float:
    """Return how long to wait before the next try: doubling, capped, and never in step."""
    longest = min(PAUSE_MOST_S, PAUSE_FIRST_S * 2 ** min(failures - 1, 10))
    return random.uniform(longest / 2, longest)  # noqa: S311 - jitter, no secret


def answer_of(result: Mapping[str, Any]) -> HomeAnswer:
    """Return our form of the result of `conversation/process`."""
    response = _table(result, "response")
    data = _table(response, "data")
    kind = str(response.get("response_type"))
    speech = _table(_table(response, "speech"), "plain").get("speech")
    done = data.get("success")
    actions = tuple(
        {key: _text(one.get(key, "")) for key in ("type", "name", "id")}
        for one in (done if isinstance(done, list) else [])
        if isinstance(one, dict)
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
    """Return text that can be sent on: JSON may hold half a surrogate pair, UTF-8 may not."""
    return str(value).encode("utf-8", "replace").decode()


def _table(table: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = table.get(key)
    return found if isinstance(found, dict) else {}
