"""Clients of our own services: voice, gpu, worker or litestream.

Every request has a time limit and every failure an error code.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import httpx

from barnabee.clients import responses
from barnabee.core import tracing
from barnabee.core.errors import BadInput, BarnabeeError, DependencyDown, TimedOut

_CLIENT_ERRORS = range(400, 500)
_UNAUTHORIZED = 401
_VOICE = "voice"
_VOICE_LIMIT_S = 2.0

TokenSource = str | Callable[[], str]


class BearerAuth(httpx.Auth):
    """Sends a token that may be replaced; a request refused with the old one is sent again."""

    def __init__(self, token: TokenSource) -> None:
        self._token = token

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        token = read_token(self._token)
        request.headers["Authorization"] = f"Bearer {token}"
        response = yield request
        replaced = read_token(self._token)
        if response.status_code == _UNAUTHORIZED and replaced != token:
            request.headers["Authorization"] = f"Bearer {replaced}"
            yield request


def read_token(source: TokenSource) -> str:
    """Return the current token."""
    return source() if callable(source) else source


def make_service_url(configured: str, bind: str, port: int | None) -> str:
    """Return `configured`, or without one the URL of a service on this machine. Pure."""
    host = "127.0.0.1" if bind in {"0.0.0.0", "::"} else bind
    return configured or f"http://{f'[{host}]' if ':' in host else host}:{port}"


class ServiceClient:
    """Pooled connections to one service."""

    def __init__(
        self,
        name: str,
        url: str,
        token: TokenSource,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.name = name
        self._http = httpx.AsyncClient(
            base_url=url,
            auth=BearerAuth(token) if token else None,
            transport=transport,
            trust_env=False,
        )

    async def request(
        self,
        method: str,
        path: str,
        *,
        limit_s: float,
        json: Any = None,
        token: TokenSource | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """Return the response of any status; raises TimedOut or DependencyDown.

        `token` replaces the client's own.
        """
        try:
            return await self._http.request(
                method,
                path,
                json=json,
                headers={**tracing.make_headers(), **(headers or {})},
                timeout=limit_s,
                auth=BearerAuth(token) if token else httpx.USE_CLIENT_DEFAULT,
            )
        except httpx.TimeoutException as error:
            raise TimedOut(what=self.name, limit_ms=round(limit_s * 1000)) from error
        except httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
            raise DependencyDown(dependency=self.name, reason=reason) from error

    async def request_json(
        self, method: str, path: str, *, limit_s: float, **options: Any
    ) -> dict[str, Any]:
        """Return the response's JSON object; an error response keeps its code and message."""
        response = await self.request(method, path, limit_s=limit_s, **options)
        if response.is_error:
            raise self._make_error(response)
        with responses.wrap_parse_errors(self.name):
            body = response.json() if response.content else {}
            if not isinstance(body, dict):
                raise TypeError("no JSON object")
            return body

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    def _make_error(self, response: httpx.Response) -> BarnabeeError:
        """Return the service's own code and message when the request is at fault."""
        general = responses.parse_error(response, self.name) or BarnabeeError()
        status = response.status_code
        is_request_error = status in _CLIENT_ERRORS and status != _UNAUTHORIZED
        try:
            code, message = str(response.json()["code"]), str(response.json()["message"])
        except (ValueError, KeyError, TypeError):
            return general
        if not is_request_error or general.retry_after_s:
            return general
        error = BadInput(what=message.rstrip("."))
        error.code, error.status = code, response.status_code  # type: ignore[misc]
        return error


@dataclass(frozen=True, slots=True)
class RingRequest:
    """A ring for `room`, or for all rooms if that is None or not connected.

    It is dropped at `until` (Unix time in s), even if the caller does not ask for that.
    """

    ring_id: str
    text: str
    room: str | None
    until: float


@dataclass(frozen=True, slots=True)
class RingStatus:
    """What the voice knows of a ring: when it was first heard, and whether a user reacted."""

    sounded_at: datetime | None
    is_silenced: bool


@dataclass(frozen=True, slots=True)
class RingReport:
    """State of the rings by their id, and the rooms that are connected."""

    rooms: Sequence[str]
    rings: Mapping[str, RingStatus]


class VoiceClient:
    """Rings and announcements; raises Unavailable when the voice service does not answer."""

    def __init__(self, service: ServiceClient) -> None:
        self._service = service

    async def set_rings(self, rings: Collection[RingRequest]) -> RingReport:
        """Let exactly `rings` ring; one that rings already continues."""
        body = {"rings": [asdict(ring) for ring in rings]}
        found = await self._service.request_json(
            "PUT", "/v1/rings", limit_s=_VOICE_LIMIT_S, json=body
        )
        with responses.wrap_parse_errors(_VOICE):
            return RingReport(
                rooms=[str(room) for room in found["rooms"]],
                rings={
                    str(ring["ring_id"]): RingStatus(
                        sounded_at=_parse_time(ring["sounded_at_s"]),
                        is_silenced=bool(ring["is_silenced"]),
                    )
                    for ring in found["rings"]
                },
            )

    async def announce(
        self, text: str, rooms: Collection[str] = (), *, besides: str | None = None
    ) -> Sequence[str]:
        """Implement `understanding.interfaces.Announcer`."""
        body = {"text": text, "rooms": sorted(rooms), "besides": besides}
        found = await self._service.request_json(
            "POST", "/v1/announcements", limit_s=_VOICE_LIMIT_S, json=body
        )
        with responses.wrap_parse_errors(_VOICE):
            return [str(room) for room in found["rooms"]]

    async def aclose(self) -> None:
        """Close the connections."""
        await self._service.aclose()


def _parse_time(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
