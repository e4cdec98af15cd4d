"""Health probes of a node, by the kind of probe that system.toml names for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from barnabee.core.health import HealthState
from barnabee.core.schema import ServiceConfig

if TYPE_CHECKING:
    import httpx

# With a probe every 1.5 s and both attempts in sequence, a failure is noticed within 5 s. The first
# exceeds the 2 s of a service's own checks, so that it can report which dependency hangs.
TIMEOUT_S = 2.3
_SECOND_TIMEOUT_S = 0.7
_OK = 200
PROBE_USER = "probe"  # of Redis: needs no password and may only PING
_SERVER_ERROR = 500
# Code of a dependency that is not configured: it counts as off, not as failed.
NOT_CONFIGURED = "not_configured"


@dataclass(frozen=True)
class NodeProbeResult:
    """Result of one probe: whether the process answers, and the state of the service."""

    is_responding: bool
    state: HealthState
    message: str = ""
    dependencies: dict[str, dict[str, Any]] = field(default_factory=dict)
    is_silent: bool = False  # two requests in a row, on connections of their own, had no answer

    @property
    def is_ready(self) -> bool:
        """Whether the node is healthy or degraded."""
        return self.state in {HealthState.HEALTHY, HealthState.DEGRADED}

    @property
    def is_ok(self) -> bool:
        """Whether the node is healthy, or degraded only by dependencies not configured."""
        unhealthy = [
            dependency
            for dependency in self.dependencies.values()
            if dependency.get("status") != HealthState.HEALTHY
        ]
        return self.state == HealthState.HEALTHY or (
            self.state == HealthState.DEGRADED
            and bool(unhealthy)
            and all(dependency.get("code") == NOT_CONFIGURED for dependency in unhealthy)
        )


def make_silent_result(message: str) -> NodeProbeResult:
    """Return the result for a node that does not answer."""
    return NodeProbeResult(is_responding=False, state=HealthState.UNHEALTHY, message=message)


HEALTHY = NodeProbeResult(is_responding=True, state=HealthState.HEALTHY)
NOT_PROBED = NodeProbeResult(is_responding=False, state=HealthState.UNKNOWN)


class NodeProber:
    """Probes nodes on one host, each time over a new connection, as a new client would."""

    def __init__(
        self, host: str = "127.0.0.1", read_token: Callable[[], str | None] = lambda: None
    ) -> None:
        """With a token, our services also tell the reasons of their states."""
        self._host, self._read_token = host, read_token
        self._client: httpx.AsyncClient | None = None

    async def aclose(self) -> None:
        if self._client is not None:
            await self._client.aclose()

    async def probe(self, node: ServiceConfig) -> NodeProbeResult:
        """Return the health of `node`; never raises."""
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return await self._probe(node)
        except TimeoutError:
            return await self._probe_again(node, f"no answer within {TIMEOUT_S:g} s")
        except (OSError, ValueError) as error:
            return make_silent_result(str(error) or type(error).__name__)

    async def _probe(self, node: ServiceConfig) -> NodeProbeResult:
        port = node.port or 0
        if node.probe == "redis":
            return await self._probe_redis(port)
        if node.probe == "s3":
            return await self._probe_s3(port)
        path = "/manifest.json" if node.probe == "home_assistant" else node.health_path
        token = self._read_token() if node.module else None
        response = await self._get(port, path, token)
        return parse_response(response.status_code, _read_json(response))

    async def _probe_again(self, node: ServiceConfig, message: str) -> NodeProbeResult:
        """Tell a service whose dependencies hang, or that was slow once, from one that hangs."""
        begun_s = time.monotonic()
        try:
            async with asyncio.timeout(_SECOND_TIMEOUT_S):
                if node.probe == "http" and node.health_path == "/health/ready":
                    await self._get(node.port or 0, "/health/live")
                else:
                    await self._probe(node)
        except TimeoutError:
            # A timer that fires late says that this process did not run, not that the other hangs.
            is_late = time.monotonic() - begun_s > 2 * _SECOND_TIMEOUT_S
            return replace(make_silent_result(message), is_silent=not is_late)
        except (OSError, ValueError):
            return make_silent_result(message)
        return NodeProbeResult(is_responding=True, state=HealthState.UNHEALTHY, message=message)

    async def _probe_s3(self, port: int) -> NodeProbeResult:
        """An unsigned request: any answer but a server error will do."""
        response = await self._get(port, "/")
        if response.status_code < _SERVER_ERROR:
            return HEALTHY
        return parse_response(response.status_code, None)

    async def _get(self, port: int, path: str, token: str | None = None) -> httpx.Response:
        import httpx  # noqa: PLC0415 - 0.2 s that `status` and `logs` need not pay

        if self._client is None:
            # This machine's services are never reached through the user's proxy.
            limits = httpx.Limits(max_keepalive_connections=0)
            self._client = httpx.AsyncClient(trust_env=False, limits=limits)
        try:
            headers = {"Authorization": f"Bearer {token}"} if token else None
            return await self._client.get(f"http://{self._host}:{port}{path}", headers=headers)
        except httpx.HTTPError as error:
            raise OSError(str(error) or type(error).__name__) from error

    async def _probe_redis(self, port: int) -> NodeProbeResult:
        reader, writer = await asyncio.open_connection(self._host, port)
        try:
            writer.write(f"AUTH {PROBE_USER} any\r\nPING\r\n".encode())
            await writer.drain()
            await reader.readline()  # a server without users answers AUTH with an error
            line = await reader.readline()
        finally:
            writer.close()
        if line.startswith(b"+PONG"):
            return HEALTHY
        text = line.decode(errors="replace").strip() or "it closed the connection"
        return NodeProbeResult(is_responding=True, state=HealthState.UNHEALTHY, message=text)


def parse_response(status: int, body: Any) -> NodeProbeResult:
    """Return the result of an HTTP response: our services' report, else only its status."""
    if not isinstance(body, dict) or "status" not in body:
        state = HealthState.HEALTHY if status == _OK else HealthState.UNHEALTHY
        message = "" if status == _OK else f"HTTP {status}"
        return NodeProbeResult(is_responding=True, state=state, message=message)
    try:
        state = HealthState(body["status"])
    except ValueError:
        state = HealthState.UNKNOWN
    if status != _OK and state in {HealthState.HEALTHY, HealthState.DEGRADED}:
        state = HealthState.UNHEALTHY
    reported = body.get("dependencies")
    dependencies = reported if isinstance(reported, dict) else {}
    messages = [
        f"{name}: {dependency.get('message') or dependency.get('status')}"
        for name, dependency in dependencies.items()
        if dependency.get("status") != HealthState.HEALTHY
    ]
    return NodeProbeResult(
        is_responding=True, state=state, message="; ".join(messages), dependencies=dependencies
    )


def _read_json(response: httpx.Response) -> Any:
    if "json" not in response.headers.get("content-type", ""):
        return None
    try:
        return response.json()
    except ValueError:
        return None
