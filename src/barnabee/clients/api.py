"""How the voice asks the `api` service what is to be done and said."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx

from barnabee.clients import responses
from barnabee.clients.turn_report import Spoken, report
from barnabee.core import trace_context
from barnabee.core.errors import DependencyDown, TimedOut
from barnabee.core.health import Degraded

NAME = "api"
READY_TIMEOUT_S = 1.5


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a command; `code` says what failed, `latency_ms` how long each stage took."""

    reply: str
    intent: str
    actions: list[dict[str, Any]]
    degraded: list[str]
    code: str | None
    latency_ms: dict[str, float]


class ApiClient:
    """Pooled connections to the api."""

    def __init__(
        self,
        url: str,
        token: str,
        *,
        timeout_s: float,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Connect lazily; `timeout_s` bounds a whole command."""
        self._timeout_s = timeout_s
        self._http = httpx.AsyncClient(
            base_url=url,
            headers={"Authorization": f"Bearer {token}"},
            timeout=timeout_s,
            transport=transport,
            trust_env=False,  # the service is near
        )

    async def command(self, utterance: str, session_id: str) -> Answer:
        """Return what came of an utterance.

        Raises Unavailable when the api cannot be asked, BadInput when it will not have that.
        """
        body = {"utterance": utterance, "session_id": session_id}
        response = await self._ask("POST", "/v1/command", self._timeout_s, json=body)
        error = responses.error_of(response, NAME)
        if error is not None:
            raise error
        with responses.understood(NAME):
            found = response.json()
            return Answer(
                reply=str(found["reply"]),
                intent=str(found["intent"]),
                actions=list(found["actions"]),
                degraded=[str(one) for one in found["degraded"]],
                code=found["code"],
                latency_ms={str(k): float(v) for k, v in found["latency_ms"].items()},
            )

    async def report(self, spoken: Spoken) -> None:
        """Return when the api has what was measured of a turn; see `clients.turn_report.report`."""
        await report(self._http, spoken)

    async def ready(self) -> Degraded | None:
        """Return None when it is well, Degraded when it lacks something; DependencyDown else."""
        response = await self._ask("GET", "/health/ready", READY_TIMEOUT_S)
        found = responses.health(response, NAME)
        return Degraded("api_degraded", found.message) if found else None

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def _ask(self, method: str, path: str, limit_s: float, **content: Any) -> httpx.Response:
        try:
            return await self._http.request(
                method, path, headers=trace_context.headers(), timeout=limit_s, **content
            )
        except httpx.TimeoutException as error:
            raise TimedOut(what=NAME, limit_ms=round(limit_s * 1000)) from error
        except httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
            raise DependencyDown(dependency=NAME, reason=reason) from error
