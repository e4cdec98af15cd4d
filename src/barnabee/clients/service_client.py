"""How the api asks the services beside it on behalf of a page: voice, gpu, worker, litestream.

One answer to one request, bounded in time; what goes wrong has a code. Knows none of them.
"""

from __future__ import annotations

from typing import Any

import httpx

from barnabee.clients import responses
from barnabee.core import trace_context
from barnabee.core.errors import BadInput, BarnabeeError, DependencyDown, TimedOut

_CLIENT_ERRORS = range(400, 500)
_UNAUTHORIZED = 401


class Neighbour:
    """Pooled connections to one service."""

    def __init__(
        self,
        name: str,
        url: str,
        token: str,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Connect lazily."""
        self.name = name
        self._http = httpx.AsyncClient(
            base_url=url,
            headers={"Authorization": f"Bearer {token}"},
            transport=transport,
            trust_env=False,
        )

    async def ask(
        self, method: str, path: str, *, limit_s: float, json: Any = None
    ) -> httpx.Response:
        """Return the answer, whatever its status; TimedOut or DependencyDown without one."""
        try:
            return await self._http.request(
                method, path, json=json, headers=trace_context.headers(), timeout=limit_s
            )
        except httpx.TimeoutException as error:
            raise TimedOut(what=self.name, limit_ms=round(limit_s * 1000)) from error
        except httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
            raise DependencyDown(dependency=self.name, reason=reason) from error

    async def told(
        self, method: str, path: str, *, limit_s: float, json: Any = None
    ) -> dict[str, Any]:
        """Return the JSON object of a good answer; a refusal keeps its code and its sentence."""
        response = await self.ask(method, path, limit_s=limit_s, json=json)
        if response.is_error:
            raise self._refusal(response)
        with responses.understood(self.name):
            found = response.json() if response.content else {}
            if not isinstance(found, dict):
                raise TypeError("no JSON object")
            return found

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    def _refusal(self, response: httpx.Response) -> BarnabeeError:
        """Return what is wrong in the service's own words, when the request is at fault."""
        general = responses.error_of(response, self.name) or BarnabeeError()
        ours = response.status_code in _CLIENT_ERRORS and response.status_code != _UNAUTHORIZED
        try:
            code, message = str(response.json()["code"]), str(response.json()["message"])
        except (ValueError, KeyError, TypeError):
            return general
        if not ours or general.retry_after_s:
            return general
        error = BadInput(what=message.rstrip("."))
        error.code, error.status = code, response.status_code  # type: ignore[misc]
        return error
