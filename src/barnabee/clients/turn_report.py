"""How the voice tells the `api` service what it measured of a turn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from barnabee.clients import responses
from barnabee.core import trace_context
from barnabee.core.errors import DependencyDown, TimedOut

if TYPE_CHECKING:
    import httpx

NAME = "api"
LIMIT_S = 5.0


@dataclass(frozen=True, slots=True)
class Stage:
    """When a stage began, from the moment the person stopped speaking, and how long it took."""

    at_ms: float
    took_ms: float


@dataclass(frozen=True, slots=True)
class Spoken:
    """How one turn was heard and spoken.

    `said_at` is when the person stopped speaking (2025-01-31T12:00:00.000Z); `stages` by the names
    of `[stage]` in system.toml, and `command` for all the api did; `filler` is the phrase that was
    played; `heard` is what of the reply was heard before somebody talked into it.
    """

    trace_id: str
    room: str
    said_at: str
    stages: Mapping[str, Stage]
    engine: str | None = None
    filler: str | None = None
    interrupted: bool = False
    heard: str | None = None
    degraded: tuple[str, ...] = field(default=())
    code: str | None = None


async def report(http: httpx.AsyncClient, spoken: Spoken, *, limit_s: float = LIMIT_S) -> None:
    """Return when the api has what `spoken` says; saying it twice changes nothing.

    `http` has the api's address and token. Raises Unavailable when the api cannot be asked or can
    keep nothing now (try again then), BadInput when it will not have that.
    """
    import httpx  # noqa: PLC0415 - the shape above needs none

    body = asdict(spoken)
    path = f"/v1/turns/{body.pop('trace_id')}/spoken"
    try:
        response = await http.post(
            path, json=body, headers=trace_context.headers(), timeout=limit_s
        )
    except httpx.TimeoutException as error:
        raise TimedOut(what=NAME, limit_ms=round(limit_s * 1000)) from error
    except httpx.HTTPError as error:
        reason = str(error) or type(error).__name__
        raise DependencyDown(dependency=NAME, reason=reason) from error
    refusal = responses.error_of(response, NAME)
    if refusal is not None:
        raise refusal
