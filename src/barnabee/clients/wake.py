"""Client of the wake-word service: audio in, detections out, over one WebSocket.

    async with WakeClient(url, token, room="kitchen") as client:
        client.send(pcm)                  # from the microphone, never waits
        async for wake in client: ...     # until the client is closed

The protocol is docs/reference/wake.md. A lost connection is reopened, at another server at once
where there is one, otherwise with back-off. Audio older than one second is dropped.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlencode, urlsplit, urlunsplit

import structlog
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from barnabee.clients.load_balancer import ServerAssignment, WakeServerPool
from barnabee.clients.service_client import TokenSource, read_token
from barnabee.core import tracing
from barnabee.core.errors import DependencyDown, SettingInvalid
from barnabee.core.rate_limit import jittered_backoff_s

NAME = "wake"
BYTES_PER_MS = 32
MAX_BUFFERED_BYTES = 32_000  # one second of audio
MESSAGE_BYTES = 32_000  # half of the service's message limit
MAX_PENDING_WAKES = 16
FIRST_BACKOFF_S, MAX_BACKOFF_S = 0.25, 5.0
REFUSED_DELAY_S = 30.0  # a refused request stays refused
PING_S = 5.0  # interval and timeout: a dead connection is detected within 10 s
OPEN_TIMEOUT_S = 20.0  # the service may load its model first, for at most 15 s
_CLIENT_ERRORS = range(400, 500)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class DetectedWakeWord:
    """A detected wake word and the trace id of its turn.

    `at_ms` counts from the start of the connection's audio, `ago_ms` is the audio received since.
    """

    word: str
    score: float
    at_ms: int
    trace_id: str
    ago_ms: int = 0


class WakeClient:
    """Wake-word stream of one microphone; a context manager that yields detections."""

    def __init__(
        self,
        servers: str | WakeServerPool,
        token: TokenSource,
        *,
        room: str = "",
        words: tuple[str, ...] = (),
        threshold_permille: int | None = None,
        pause_s: Callable[[int], float] | None = None,
    ) -> None:
        """The service's system.toml decides what is left out.

        `servers` is one URL, or a pool of which one server has the connection. `pause_s` maps the
        number of rounds in which all servers failed to the wait in seconds.
        """
        self._servers = WakeServerPool([servers]) if isinstance(servers, str) else servers
        self._urls = [
            make_wake_url(url, room, words, threshold_permille) for url in self._servers.urls
        ]
        self._connection_count = 0  # connections so far
        self._token = token
        self._pause_s = pause_s or reconnect_delay_s
        self._buffer = bytearray()
        self._sent_bytes = 0  # over this connection
        self._false_wakes: deque[str] = deque(maxlen=MAX_PENDING_WAKES)
        self._wakes: asyncio.Queue[DetectedWakeWord | None] = asyncio.Queue()
        self._has_input = asyncio.Event()
        self._ready: dict[str, Any] | None = None
        self._reason = "not connected yet"
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Start the connection task; returns at once."""
        self._task = asyncio.create_task(self._stay_connected(), name=NAME)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connection and end the iteration."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        self._ready, self._reason = None, "the client was closed"
        self._wakes.put_nowait(None)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> DetectedWakeWord:
        wake = await self._wakes.get()
        if wake is None:
            self._wakes.put_nowait(None)
            raise StopAsyncIteration
        return wake

    def send_audio(self, pcm: bytes) -> None:
        """Buffer the next audio: 16 kHz mono 16-bit little-endian, of any length."""
        self._buffer += pcm
        spare = len(self._buffer) - MAX_BUFFERED_BYTES
        if spare > 0:
            del self._buffer[: spare + spare % 2]  # never half a sample
        self._has_input.set()

    def report_false_wake(self, wake: DetectedWakeWord) -> None:
        """Report a detection without speech; it is sent when the connection is open."""
        self._false_wakes.append(wake.word)
        self._has_input.set()

    async def ready(self) -> dict[str, Any]:
        """Return the service's `ready` message; DependencyDown without a connection."""
        if self._ready is None:
            raise DependencyDown(dependency=NAME, reason=self._reason)
        return self._ready

    async def _stay_connected(self) -> None:
        failures, tried, wait_s = 0, set[int](), None
        while True:
            assignment = self._servers.begin(tried)
            if assignment is None:
                failures += 1
                await asyncio.sleep(wait_s or self._pause_s(failures))
                tried, wait_s = set(), None
                continue
            count_before, ended = self._connection_count, False
            try:
                wait_s = await self._hold_connection(assignment)
                ended = True
            finally:
                self._servers.end(assignment, failed=ended)  # not when cancelled
            if self._connection_count != count_before:
                failures, tried = 0, set()
            tried.add(assignment.server)

    async def _hold_connection(self, assignment: ServerAssignment) -> float | None:
        """Hold one server's connection until it ends; return a wait in seconds, or None."""
        url = self._urls[assignment.server]
        try:
            await self._servers.check_reachable(assignment)
            async with connect(
                url,
                additional_headers={"Authorization": f"Bearer {read_token(self._token)}"}
                | tracing.make_headers(),
                proxy=None,  # on the local network
                compression=None,  # audio does not compress
                open_timeout=OPEN_TIMEOUT_S,
                ping_interval=PING_S,
                ping_timeout=PING_S,
                close_timeout=1,
            ) as connection:
                await self._receive(connection, assignment)
                self._record_disconnect(
                    connection.close_reason or "the service closed the connection"
                )
        except InvalidStatus as error:
            self._record_disconnect(_refusal_reason(error))
            return REFUSED_DELAY_S if error.response.status_code in _CLIENT_ERRORS else None
        except (OSError, WebSocketException, ValueError, KeyError, TypeError) as error:
            self._record_disconnect(str(error) or type(error).__name__)
        return None

    async def _receive(self, connection: ClientConnection, assignment: ServerAssignment) -> None:
        try:
            self._handle_message(json.loads(await connection.recv()))
            self._servers.record_connected(assignment)
            self._connection_count += 1
            self._sent_bytes = 0
            sender = asyncio.create_task(self._send_loop(connection), name=f"{NAME}-send")
            try:
                while True:
                    self._handle_message(json.loads(await connection.recv()))
            finally:
                sender.cancel()
                await asyncio.wait([sender])
        except ConnectionClosed:
            return

    def _handle_message(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        if kind == "ready":
            self._ready = message
            log.info("wake_connected", room=message["room"], words=message["words"])
        elif kind == "wake":
            at_ms = int(message["at_ms"])
            wake = DetectedWakeWord(
                str(message["word"]),
                float(message["score"]),
                at_ms,
                str(message["trace_id"]),
                max(0, (self._sent_bytes + len(self._buffer)) // BYTES_PER_MS - at_ms),
            )
            if self._wakes.qsize() >= MAX_PENDING_WAKES:
                self._wakes.get_nowait()  # no consumer: drop the oldest
            self._wakes.put_nowait(wake)
        elif kind == "error":
            log.warning("wake_ended", code=str(message["code"]), reason=str(message["message"]))

    async def _send_loop(self, connection: ClientConnection) -> None:
        try:
            while True:
                self._has_input.clear()
                while self._false_wakes:
                    await connection.send(
                        json.dumps({"type": "false_wake", "word": self._false_wakes[0]})
                    )
                    self._false_wakes.popleft()
                while whole := len(self._buffer) // 2 * 2:
                    pcm = bytes(self._buffer[: min(whole, MESSAGE_BYTES)])
                    del self._buffer[: len(pcm)]
                    self._sent_bytes += len(pcm)
                    await connection.send(pcm)
                await self._has_input.wait()
        except ConnectionClosed:  # the receiver reports it
            return

    def _record_disconnect(self, reason: str) -> None:
        if self._ready is not None or reason != self._reason:
            log.warning("wake_away", code=DependencyDown.code, reason=reason)
        self._ready, self._reason = None, reason


def make_wake_url(
    url: str, room: str, words: tuple[str, ...], threshold_permille: int | None
) -> str:
    """Return the WebSocket URL at a service's http(s) URL; SettingInvalid for any other. Pure."""
    parts = urlsplit(url)
    scheme = {"http": "ws", "https": "wss"}.get(parts.scheme)
    if scheme is None or not parts.netloc:
        hint = "write http://host:port"
        raise SettingInvalid(name="GPU_SERVICE_URL", reason="it is not an http URL", hint=hint)
    parameters = {
        "room": room,
        "words": ",".join(words),
        "threshold": "" if threshold_permille is None else str(threshold_permille),
    }
    query = urlencode({name: value for name, value in parameters.items() if value})
    return urlunsplit((scheme, parts.netloc, f"{parts.path.rstrip('/')}/v1/wake", query, ""))


def reconnect_delay_s(failures: int) -> float:
    return jittered_backoff_s(failures, FIRST_BACKOFF_S, MAX_BACKOFF_S)


def _refusal_reason(error: InvalidStatus) -> str:
    status = error.response.status_code
    try:
        return str(json.loads(error.response.body or b"")["message"])
    except (ValueError, KeyError, TypeError):
        return f"status {status}"
