"""How the voice pipeline listens for wake words: sound in, wakes out, over one WebSocket.

    async with WakeClient(url, token, room="kitchen") as ear:
        ear.hear(sound)                 # from the microphone, never waits
        async for wake in ear: ...      # for as long as the client is open

The protocol is docs/reference/wake.md. A lost link is built again, with another server at once
where there is one, and with growing pauses. Sound is worth something only while it is fresh: what
cannot be sent within a second is forgotten.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlencode, urlsplit, urlunsplit

import structlog
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from barnabee.clients.balance import Ticket
from barnabee.clients.wake_servers import WakeServers
from barnabee.core import trace_context
from barnabee.core.errors import DependencyDown, SettingInvalid

NAME = "wake"
BYTES_PER_MS = 32
KEPT_BYTES = 32_000  # one second of sound
MESSAGE_BYTES = 32_000  # half of what the service takes at a time
KEPT_WAKES = 16
PAUSE_FIRST_S, PAUSE_MOST_S = 0.25, 5.0
PAUSE_REFUSED_S = 30.0  # what was asked for is wrong, and will be the next time too
PING_S = 5.0  # with as much time for the answer, a dead link is seen within 10 s
OPEN_TIMEOUT_S = 20.0  # the service may load its model first, for at most 15 s
_REFUSED = range(400, 500)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Wake:
    """A word was heard: where in the sound since the link was built, and the turn's trace id.

    `ago_ms` is how much sound came after it by the time it is told.
    """

    word: str
    score: float
    at_ms: int
    trace_id: str
    ago_ms: int = 0


class WakeClient:
    """One microphone's ear; enter it to listen, iterate over it for wakes."""

    def __init__(
        self,
        servers: str | WakeServers,
        token: str,
        *,
        room: str = "",
        words: tuple[str, ...] = (),
        threshold_permille: int | None = None,
        pause_s: Callable[[int], float] | None = None,
    ) -> None:
        """Remember what to listen for; what is left out, the service decides by its system.toml.

        `servers` is one address, or several, of which one has the link at a time. `pause_s` gives
        the wait after all of them were tried so many times.
        """
        self._servers = WakeServers([servers]) if isinstance(servers, str) else servers
        self._urls = [wake_url(url, room, words, threshold_permille) for url in self._servers.urls]
        self._had = 0  # links so far
        self._token = token
        self._pause_s = pause_s or pause
        self._sound = bytearray()
        self._sent_bytes = 0  # over this link
        self._false: deque[str] = deque(maxlen=KEPT_WAKES)
        self._wakes: asyncio.Queue[Wake | None] = asyncio.Queue()
        self._more = asyncio.Event()
        self._ready: dict[str, Any] | None = None
        self._reason = "it was not connected yet"
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Begin to keep the link; returns at once."""
        self._task = asyncio.create_task(self._stay_connected(), name=NAME)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the link; whoever iterates comes to the end."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        self._ready, self._reason = None, "it was closed"
        self._wakes.put_nowait(None)

    def __aiter__(self) -> Self:
        """Iterate over wakes."""
        return self

    async def __anext__(self) -> Wake:
        """Return the next wake."""
        wake = await self._wakes.get()
        if wake is None:
            self._wakes.put_nowait(None)
            raise StopAsyncIteration
        return wake

    def hear(self, sound: bytes) -> None:
        """Take the next sound, 16 kHz mono 16-bit little-endian, of any length."""
        self._sound += sound
        spare = len(self._sound) - KEPT_BYTES
        if spare > 0:
            del self._sound[: spare + spare % 2]  # never half a sample
        self._more.set()

    def false_wake(self, wake: Wake) -> None:
        """Say that nobody spoke after this wake; waits for the link when it is lost."""
        self._false.append(wake.word)
        self._more.set()

    async def ready(self) -> dict[str, Any]:
        """Return what the service listens for; DependencyDown when there is no link to it."""
        if self._ready is None:
            raise DependencyDown(dependency=NAME, reason=self._reason)
        return self._ready

    async def _stay_connected(self) -> None:
        failures, tried, wait_s = 0, set[int](), None
        while True:
            ticket = self._servers.begin(tried)
            if ticket is None:
                failures += 1
                await asyncio.sleep(wait_s or self._pause_s(failures))
                tried, wait_s = set(), None
                continue
            had, over = self._had, False
            try:
                wait_s = await self._link(ticket)
                over = True
            finally:
                self._servers.end(ticket, failed=over)  # not when we leave
            if self._had != had:
                failures, tried = 0, set()
            tried.add(ticket.server)

    async def _link(self, ticket: Ticket) -> float | None:
        """Be linked to one server for as long as it goes; return a wait that the end asks for."""
        url = self._urls[ticket.server]
        try:
            await self._servers.reach(ticket)
            async with connect(
                url,
                additional_headers={"Authorization": f"Bearer {self._token}"}
                | trace_context.headers(),
                proxy=None,  # the service is near
                compression=None,  # sound does not get smaller
                open_timeout=OPEN_TIMEOUT_S,
                ping_interval=PING_S,
                ping_timeout=PING_S,
                close_timeout=1,
            ) as link:
                await self._listen(link, ticket)
                self._lost(link.close_reason or "it closed the link")
        except InvalidStatus as error:
            self._lost(_refusal(error))
            return PAUSE_REFUSED_S if error.response.status_code in _REFUSED else None
        except (OSError, WebSocketException, ValueError, KeyError, TypeError) as error:
            self._lost(str(error) or type(error).__name__)
        return None

    async def _listen(self, link: ClientConnection, ticket: Ticket) -> None:
        """Send and receive until the link ends."""
        try:
            self._take(json.loads(await link.recv()))
            self._servers.linked(ticket)
            self._had += 1
            self._sent_bytes = 0
            sender = asyncio.create_task(self._send(link), name=f"{NAME}-send")
            try:
                while True:
                    self._take(json.loads(await link.recv()))
            finally:
                sender.cancel()
                await asyncio.wait([sender])
        except ConnectionClosed:
            return

    def _take(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        if kind == "ready":
            self._ready = message
            log.info("wake_connected", room=message["room"], words=message["words"])
        elif kind == "wake":
            at_ms = int(message["at_ms"])
            heard = Wake(
                str(message["word"]),
                float(message["score"]),
                at_ms,
                str(message["trace_id"]),
                max(0, (self._sent_bytes + len(self._sound)) // BYTES_PER_MS - at_ms),
            )
            if self._wakes.qsize() >= KEPT_WAKES:
                self._wakes.get_nowait()  # nobody has asked for so long: the oldest is history
            self._wakes.put_nowait(heard)
        elif kind == "error":
            log.warning("wake_ended", code=str(message["code"]), reason=str(message["message"]))

    async def _send(self, link: ClientConnection) -> None:
        try:
            while True:
                self._more.clear()
                while self._false:
                    await link.send(json.dumps({"type": "false_wake", "word": self._false[0]}))
                    self._false.popleft()
                while whole := len(self._sound) // 2 * 2:
                    sound = bytes(self._sound[: min(whole, MESSAGE_BYTES)])
                    del self._sound[: len(sound)]
                    self._sent_bytes += len(sound)
                    await link.send(sound)
                await self._more.wait()
        except ConnectionClosed:  # whoever receives sees it too, and says so
            return

    def _lost(self, reason: str) -> None:
        if self._ready is not None or reason != self._reason:
            log.warning("wake_away", code=DependencyDown.code, reason=reason)
        self._ready, self._reason = None, reason


def wake_url(url: str, room: str, words: tuple[str, ...], threshold_permille: int | None) -> str:
    """Return the address of the stream at a service's http(s) address; SettingInvalid. Pure."""
    parts = urlsplit(url)
    scheme = {"http": "ws", "https": "wss"}.get(parts.scheme)
    if scheme is None or not parts.netloc:
        hint = "give it as http://host:port"
        raise SettingInvalid(name="GPU_SERVICE_URL", reason="it is no http address", hint=hint)
    given = {
        "room": room,
        "words": ",".join(words),
        "threshold": "" if threshold_permille is None else str(threshold_permille),
    }
    query = urlencode({name: value for name, value in given.items() if value})
    return urlunsplit((scheme, parts.netloc, f"{parts.path.rstrip('/')}/v1/wake", query, ""))


def pause(failures: int) -> float:
    """Return how long to wait after so many failed attempts, in s; never the same twice."""
    longest = min(PAUSE_MOST_S, PAUSE_FIRST_S * (1 << min(failures - 1, 10)))
    return random.uniform(longest / 2, longest)  # noqa: S311 - spreads the load, guards no secret


def _refusal(error: InvalidStatus) -> str:
    status = error.response.status_code
    try:
        return str(json.loads(error.response.body or b"")["message"])
    except (ValueError, KeyError, TypeError):
        return f"it answered with status {status}"
