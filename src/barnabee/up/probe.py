"""Health probes of a node, by the kind of probe that system.toml names for it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from barnabee.core.health import HealthState
from barnabee.core.schema import ServiceConfig

if TYPE_CHECKING:
    import httpx

# With a probe every 1.5 s and both timeouts in sequence, a failure is noticed within 5 s. The first
# exceeds the 2 s of a service's own checks, so that it can report which dependency hangs.
TIMEOUT_S = 2.3
_LIVE_TIMEOUT_S = 0.7
_OK = 200
# Code of a dependency that is not configured: it counts as off, not as failed.
NOT_CONFIGURED = "not_configured"


@dataclass(frozen=True)
class NodeProbeResult:
    """Result of one probe: whether the process answers, and the state of the service."""

    is_responding: bool
    state: HealthState
    message: str = ""
    dependencies: dict[str, dict[str, Any]] = field(default_factory=dict)

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
    """Probes nodes on one host and reuses its HTTP connections."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self._host = host
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
            return await self._probe_liveness(node, f"no answer within {TIMEOUT_S:g} s")
        except (OSError, ValueError) as error:
            return make_silent_result(str(error) or type(error).__name__)

    async def _probe(self, node: ServiceConfig) -> NodeProbeResult:
        if node.probe == "redis":
            return await self._probe_redis(node.port or 0)
        if node.probe == "tcp":
            return await self._probe_tcp(node.port or 0)
        if node.probe == "home_assistant":
            return await self._probe_http(node.port or 0, "/manifest.json")
        return await self._probe_http(node.port or 0, node.health_path)

    async def _probe_liveness(self, node: ServiceConfig, message: str) -> NodeProbeResult:
        """Tell a service whose dependencies hang from one that hangs itself."""
        if node.probe == "http" and node.health_path == "/health/ready":
            with suppress(TimeoutError, OSError, ValueError):
                async with asyncio.timeout(_LIVE_TIMEOUT_S):
                    live = await self._probe_http(node.port or 0, "/health/live")
                    return NodeProbeResult(live.is_responding, HealthState.UNHEALTHY, message)
        return make_silent_result(message)

    async def _probe_http(self, port: int, path: str) -> NodeProbeResult:
        import httpx  # noqa: PLC0415 - 0.2 s that `status` and `logs` need not pay

        if self._client is None:
            # This machine's services are never reached through the user's proxy.
            self._client = httpx.AsyncClient(trust_env=False)
        try:
            response = await self._client.get(f"http://{self._host}:{port}{path}")
        except httpx.HTTPError as error:
            raise OSError(str(error) or type(error).__name__) from error
        return parse_response(response.status_code, _read_json(response))

    async def _probe_redis(self, port: int) -> NodeProbeResult:
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
        return NodeProbeResult(is_responding=True, state=HealthState.UNHEALTHY, message=text)

    async def _probe_tcp(self, port: int) -> NodeProbeResult:
        _, writer = await asyncio.open_connection(self._host, port)
        writer.close()
        return HEALTHY


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
