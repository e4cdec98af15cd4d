"""How a node is: asked over the wire, by the kind of probe that system.toml names for it.

Asks and reports; decides nothing and keeps nothing.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from barnabee.core.health import State
from barnabee.core.schema import Service

if TYPE_CHECKING:
    import httpx

# A look every 1.5 s and these two, one after the other: a failure is seen within 5 s. The first
# outlasts a health check's own 2 s, so that a service can say which of its dependencies hangs.
TIMEOUT_S = 2.3
_ALIVE_TIMEOUT_S = 0.7
_OK = 200
# A dependency that nobody configured is off, not broken: it never keeps the house from being well.
NOT_CONFIGURED = "not_configured"


@dataclass(frozen=True)
class Look:
    """What one look at a node found; `answers` is about the process, `state` about its job."""

    answers: bool
    state: State
    message: str = ""
    dependencies: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def ready(self) -> bool:
        """Return whether the node does its job, if with less."""
        return self.state in {State.HEALTHY, State.DEGRADED}

    @property
    def good(self) -> bool:
        """Return whether nothing is wrong but what nobody configured."""
        lacking = [one for one in self.dependencies.values() if one.get("status") != State.HEALTHY]
        return self.state == State.HEALTHY or (
            self.state == State.DEGRADED
            and bool(lacking)
            and all(one.get("code") == NOT_CONFIGURED for one in lacking)
        )


def silent(message: str) -> Look:
    """Return the look at something that does not answer."""
    return Look(answers=False, state=State.UNHEALTHY, message=message)


HEALTHY = Look(answers=True, state=State.HEALTHY)
UNASKED = Look(answers=False, state=State.UNKNOWN)


class Prober:
    """Asks nodes on one host; holds the HTTP connections between two looks."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        """Remember where to ask."""
        self._host = host
        self._client: httpx.AsyncClient | None = None

    async def aclose(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.aclose()

    async def look(self, node: Service) -> Look:
        """Return how `node` is; never raises."""
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return await self._ask(node)
        except TimeoutError:
            return await self._alive(node, f"no answer within {TIMEOUT_S:g} s")
        except (OSError, ValueError) as error:
            return silent(str(error) or type(error).__name__)

    async def _ask(self, node: Service) -> Look:
        if node.probe == "redis":
            return await self._redis(node.port or 0)
        if node.probe == "tcp":
            return await self._tcp(node.port or 0)
        if node.probe == "home_assistant":
            return await self._http(node.port or 0, "/manifest.json")
        return await self._http(node.port or 0, node.health_path)

    async def _alive(self, node: Service, message: str) -> Look:
        """Tell a service whose dependencies hang from one that hangs itself."""
        if node.probe == "http" and node.health_path == "/health/ready":
            with suppress(TimeoutError, OSError, ValueError):
                async with asyncio.timeout(_ALIVE_TIMEOUT_S):
                    live = await self._http(node.port or 0, "/health/live")
                    return Look(live.answers, State.UNHEALTHY, message)
        return silent(message)

    async def _http(self, port: int, path: str) -> Look:
        import httpx  # noqa: PLC0415 - 0.2 s that `status` and `logs` need not pay

        if self._client is None:
            # This machine's services are never behind the user's proxy.
            self._client = httpx.AsyncClient(trust_env=False)
        try:
            answer = await self._client.get(f"http://{self._host}:{port}{path}")
        except httpx.HTTPError as error:
            raise OSError(str(error) or type(error).__name__) from error
        return read_answer(answer.status_code, _json(answer))

    async def _redis(self, port: int) -> Look:
        reader, writer = await asyncio.open_connection(self._host, port)
        try:
            writer.write(b"PING\r\n")
            await writer.drain()
            line = await reader.readline()
        finally:
            writer.close()
        if line.startswith(b"+PONG"):
            return HEALTHY
        text = line.decode(errors="replace").strip() or "it closed the connection"
        return Look(answers=True, state=State.UNHEALTHY, message=text)

    async def _tcp(self, port: int) -> Look:
        _, writer = await asyncio.open_connection(self._host, port)
        writer.close()
        return HEALTHY


def read_answer(status: int, body: Any) -> Look:
    """Return what an HTTP answer says: our services' report, or just its status. Pure."""
    if not isinstance(body, dict) or "status" not in body:
        state = State.HEALTHY if status == _OK else State.UNHEALTHY
        return Look(answers=True, state=state, message="" if status == _OK else f"HTTP {status}")
    try:
        state = State(body["status"])
    except ValueError:
        state = State.UNKNOWN
    if status != _OK and state in {State.HEALTHY, State.DEGRADED}:
        state = State.UNHEALTHY
    found = body.get("dependencies")
    dependencies = found if isinstance(found, dict) else {}
    lacking = [
        f"{name}: {one.get('message') or one.get('status')}"
        for name, one in dependencies.items()
        if one.get("status") != State.HEALTHY
    ]
    return Look(answers=True, state=state, message="; ".join(lacking), dependencies=dependencies)


def _json(answer: httpx.Response) -> Any:
    if "json" not in answer.headers.get("content-type", ""):
        return None
    try:
        return answer.json()
    except ValueError:
        return None
