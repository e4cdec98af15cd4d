"""Client of the `api` service for the voice service: commands and turn reports."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import httpx

from barnabee.clients import responses
from barnabee.clients.service_client import BearerAuth, TokenSource
from barnabee.core import tracing
from barnabee.core.errors import DependencyDown, TimedOut
from barnabee.core.health import Degraded

NAME = "api"
COMMAND_PATH = "/v1/command"
MEDIA_TYPE = "text/event-stream"  # server-sent events
READY_TIMEOUT_S = 1.5
REPORT_TIMEOUT_S = 5.0
_SERVER_ERROR = 500

OnSentence = Callable[[str], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class CommandReply:
    """Reply to a command; `code` is the error code or None, `latency_ms` is by stage."""

    reply: str
    intent: str
    actions: list[dict[str, Any]]
    degraded: list[str]
    code: str | None
    latency_ms: dict[str, float]


class ApiClient:
    """Pooled connections to the api service."""

    def __init__(
        self,
        url: str,
        token: TokenSource,
        *,
        timeout_s: float,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """`timeout_s` limits a whole command."""
        self._timeout_s = timeout_s
        self._http = httpx.AsyncClient(
            base_url=url,
            auth=BearerAuth(token),
            timeout=timeout_s,
            transport=transport,
            trust_env=False,  # on the local network
        )

    async def command(
        self,
        utterance: str,
        session_id: str,
        *,
        room: str | None = None,
        on_sentence: OnSentence | None = None,
    ) -> CommandReply:
        """Run the command in `utterance`, spoken in `room`.

        `on_sentence` gets sentences of the reply while it is generated; cancelling ends the
        generation. Raises Unavailable when the api does not answer, BadInput when it refuses the
        request.
        """
        command = {"utterance": utterance, "session_id": session_id, "room": room}
        if on_sentence is not None:
            return await self._stream_command(command, on_sentence)
        response = await self._request("POST", COMMAND_PATH, self._timeout_s, json=command)
        return _parse_reply(response)

    async def _stream_command(
        self, command: dict[str, str | None], on_sentence: OnSentence
    ) -> CommandReply:
        headers = {**tracing.make_headers(), "Accept": MEDIA_TYPE}
        with _wrap_errors(self._timeout_s):
            async with self._http.stream(
                "POST", COMMAND_PATH, json=command, headers=headers, timeout=self._timeout_s
            ) as response:
                if not response.headers.get("content-type", "").startswith(MEDIA_TYPE):
                    await response.aread()
                    return _parse_reply(response)
                async for event, data in read_events(response):
                    if event != "sentence":  # the last one: a result or an error
                        status = response.status_code if event == "result" else _SERVER_ERROR
                        return _parse_reply(httpx.Response(status, content=data))
                    with responses.wrap_parse_errors(NAME):
                        sentence = str(json.loads(data)["text"])
                    await on_sentence(sentence)
        raise DependencyDown(dependency=NAME, reason="the answer ended early")

    async def send_report(self, report: TurnReport) -> None:
        """Send a turn's measurements; see `send_turn_report`."""
        await send_turn_report(self._http, report)

    async def ready(self) -> Degraded | None:
        """Return None when the api is healthy, Degraded when it is not; raises DependencyDown."""
        response = await self._request("GET", "/health/ready", READY_TIMEOUT_S)
        degraded = responses.parse_health(response, NAME)
        return Degraded("api_degraded", degraded.message) if degraded else None

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def _request(
        self, method: str, path: str, limit_s: float, **content: Any
    ) -> httpx.Response:
        with _wrap_errors(limit_s):
            return await self._http.request(
                method, path, headers=tracing.make_headers(), timeout=limit_s, **content
            )


def find_unspoken(reply: str, spoken: Sequence[str]) -> str:
    """Return what is to be spoken of `reply` after the sentences of its beginning. Pure."""
    if not spoken:
        return reply
    before, found, after = reply.partition(" ".join(spoken))
    return f"{before} {after}".strip() if found else reply


def _parse_reply(response: httpx.Response) -> CommandReply:
    error = responses.parse_error(response, NAME)
    if error is not None:
        raise error
    with responses.wrap_parse_errors(NAME):
        body = response.json()
        return CommandReply(
            reply=str(body["reply"]),
            intent=str(body["intent"]),
            actions=list(body["actions"]),
            degraded=[str(part) for part in body["degraded"]],
            code=body["code"],
            latency_ms={str(k): float(v) for k, v in body["latency_ms"].items()},
        )


@contextmanager
def _wrap_errors(limit_s: float) -> Iterator[None]:
    """Raise TimedOut or DependencyDown for an error of the connection."""
    try:
        yield
    except httpx.TimeoutException as error:
        raise TimedOut(what=NAME, limit_ms=round(limit_s * 1000)) from error
    except httpx.HTTPError as error:
        reason = str(error) or type(error).__name__
        raise DependencyDown(dependency=NAME, reason=reason) from error


@dataclass(frozen=True, slots=True)
class StageTiming:
    """Start of a stage, counted from the end of the user's speech, and its duration."""

    at_ms: float
    took_ms: float


@dataclass(frozen=True, slots=True)
class TurnReport:
    """Measurements of one turn.

    `said_at` is the end of the user's speech (2025-01-31T12:00:00.000Z). `stages` has the names of
    `[stage]` in system.toml, and `command` for everything in the api. `filler` is the phrase that
    was played, `heard` the part of the reply that was played before a barge-in.
    """

    trace_id: str
    room: str
    said_at: str
    stages: Mapping[str, StageTiming]
    engine: str | None = None
    filler: str | None = None
    interrupted: bool = False
    heard: str | None = None
    degraded: tuple[str, ...] = field(default=())
    code: str | None = None


async def send_turn_report(
    http: httpx.AsyncClient, report: TurnReport, *, limit_s: float = REPORT_TIMEOUT_S
) -> None:
    """Store a turn's measurements in the api; idempotent.

    `http` has the api's URL and token. Raises Unavailable when the api does not answer or cannot
    write now (retry then), BadInput when it refuses the report.
    """
    body = asdict(report)
    path = f"/v1/turns/{body.pop('trace_id')}/spoken"
    with _wrap_errors(limit_s):
        response = await http.post(path, json=body, headers=tracing.make_headers(), timeout=limit_s)
    refusal = responses.parse_error(response, NAME)
    if refusal is not None:
        raise refusal


async def read_events(response: httpx.Response) -> AsyncIterator[tuple[str, str]]:
    """Yield the name and the data of each server-sent event."""
    name, data = "message", list[str]()
    async for line in response.aiter_lines():
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            name = value
        elif field == "data":
            data.append(value)
        elif not line:
            if data:
                yield name, "\n".join(data)
            name, data = "message", []
