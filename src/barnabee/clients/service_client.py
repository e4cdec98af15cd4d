"""Client of one of our services for the api: voice, gpu, worker or litestream.

Every request has a time limit and every failure an error code.
"""

from __future__ import annotations

from typing import Any

import httpx

from barnabee.clients import responses
from barnabee.core import trace_context
from barnabee.core.errors import BadInput, BarnabeeError, DependencyDown, TimedOut

_CLIENT_ERRORS = range(400, 500)
_UNAUTHORIZED = 401


class ServiceClient:
    """Pooled connections to one service."""

    def __init__(
        self,
        name: str,
        url: str,
        token: str,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.name = name
        self._http = httpx.AsyncClient(
            base_url=url,
            headers={"Authorization": f"Bearer {token}"},
            transport=transport,
            trust_env=False,
        )

    async def request(
        self, method: str, path: str, *, limit_s: float, json: Any = None
    ) -> httpx.Response:
        """Return the response of any status; raises TimedOut or DependencyDown."""
        try:
            return await self._http.request(
                method, path, json=json, headers=trace_context.make_headers(), timeout=limit_s
            )
        except httpx.TimeoutException as error:
            raise TimedOut(what=self.name, limit_ms=round(limit_s * 1000)) from error
        except httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
            raise DependencyDown(dependency=self.name, reason=reason) from error

    async def request_json(
        self, method: str, path: str, *, limit_s: float, json: Any = None
    ) -> dict[str, Any]:
        """Return the response's JSON object; an error response keeps its code and message."""
        response = await self.request(method, path, limit_s=limit_s, json=json)
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
