"""Pool of the inference servers at GPU_SERVICE_URL, with failover.

A request is retried at another server at most once, and only before any of the response has reached
the caller; refused connections and missing endpoints do not count. `load_balancer.py` chooses the
server; the pool has the connections, the clock and the health checks of paused servers.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httpx
import structlog

from barnabee.clients import responses
from barnabee.clients.load_balancer import (
    EndpointMissing,
    InferenceServer,
    LoadBalancer,
    StickySession,
)
from barnabee.clients.service_client import BearerAuth, TokenSource
from barnabee.core import tracing
from barnabee.core.errors import BadInput, DependencyDown, TimedOut, Unavailable
from barnabee.core.health import Degraded

T = TypeVar("T")
READY_TIMEOUT_S = 1.5  # below a health check's 2 s, so that the error names the silent server
CONNECT_TIMEOUT_S = 2.0  # with several servers; the delay when a host is unreachable
HANGING_AFTER_S = 0.8  # a request cancelled without response after this time is a failure
# A server of one model has no endpoint for other work, or another name for its model.
MISSING_STATUSES = frozenset({404, 405, 501})
MISSING_TTL_S = 60.0
CLOSE_TIMEOUT_S = 2.0
POOL_LIMITS = httpx.Limits(max_connections=32, max_keepalive_connections=16, keepalive_expiry=60)

log = structlog.get_logger()


@dataclass
class _RequestAttempts:
    """Attempts of one request at different servers."""

    path: str
    tried: set[int] = field(default_factory=set)
    retries_left: int = 1
    has_response: bool = False  # part of the response has reached the caller

    def allows_retry(self, error: Unavailable) -> bool:
        """Count the failed attempt and return whether another server may be tried."""
        if not isinstance(error.__cause__, httpx.ConnectError) and not isinstance(
            error, EndpointMissing
        ):
            self.retries_left -= 1
        return self.retries_left >= 0 and not self.has_response


class ServerPool:
    """Connections to all inference servers; a `StickySession` keeps its requests at one of them."""

    def __init__(
        self,
        urls: Sequence[str],
        token: TokenSource,
        *,
        timeout_s: float,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        several = len(urls) > 1
        self._timeout_s = timeout_s
        self._connect_s = min(timeout_s, CONNECT_TIMEOUT_S) if several else timeout_s
        self._clock = clock
        self.balancer = LoadBalancer(len(urls))
        self._tasks: set[asyncio.Task[Any]] = set()
        self.servers = [
            InferenceServer(
                number,
                url,
                f"{responses.NAME} at {url}" if several else responses.NAME,
                httpx.AsyncClient(
                    base_url=url,
                    auth=BearerAuth(token),
                    timeout=httpx.Timeout(timeout_s, connect=self._connect_s),
                    limits=POOL_LIMITS,
                    transport=transport,
                ),
            )
            for number, url in enumerate(urls)
        ]

    def choose(
        self, tried: set[int] | None = None, stick: int | None = None
    ) -> InferenceServer | None:
        """Return the server for the next request, or None when all were tried."""
        number = self.balancer.choose(self._clock(), tried or (), stick)
        return None if number is None else self.servers[number]

    async def post(
        self,
        path: str,
        read: Callable[[httpx.Response], T],
        session: StickySession | None = None,
        **content: Any,
    ) -> T:
        """Return the response parsed by `read`, which raises DependencyDown when it is invalid."""
        attempts = _RequestAttempts(path)
        while True:
            server = self._choose_next(attempts, session)
            try:
                with self._track_request(server, attempts):
                    response = await server.http.post(path, headers=_headers(session), **content)
                    self._raise_for(response, server, path)
                    return read(response)
            except Unavailable as error:
                if not self._should_retry(attempts, error, server):
                    raise

    async def stream(
        self, path: str, session: StickySession | None = None, **content: Any
    ) -> AsyncGenerator[bytes, None]:
        """Yield the response body as it arrives; there is no failover after the first chunk."""
        attempts = _RequestAttempts(path)
        while True:
            server = self._choose_next(attempts, session)
            try:
                with self._track_request(server, attempts):
                    request = server.http.stream("POST", path, headers=_headers(session), **content)
                    async with request as response:
                        if response.is_error:
                            await response.aread()
                        self._raise_for(response, server, path)
                        async for chunk in response.aiter_bytes():
                            attempts.has_response = True
                            yield chunk
                    return
            except Unavailable as error:
                if not self._should_retry(attempts, error, server):
                    raise

    async def check_ready(self) -> Degraded | None:
        """Return None when all servers are healthy, Degraded when some are; else DependencyDown."""
        if len(self.servers) == 1:
            return await self.check(self.servers[0])
        results = await asyncio.gather(*map(self._check_and_record, self.servers))
        problems = [
            str(result) if isinstance(result, Unavailable) else result.message
            for result in results
            if result
        ]
        if all(isinstance(result, Unavailable) for result in results):
            raise DependencyDown(dependency=responses.NAME, reason="; ".join(problems))
        return Degraded("gpu_degraded", "; ".join(problems)) if problems else None

    async def check(self, server: InferenceServer) -> Degraded | None:
        """Check a server's readiness; a foreign one is healthy when it lists its models."""
        with self._translate_errors(server, READY_TIMEOUT_S):
            return await asyncio.wait_for(self._check(server), READY_TIMEOUT_S)

    async def _check(self, server: InferenceServer) -> Degraded | None:
        response = await server.http.get("/health/ready")
        if responses.is_health_report(response):
            server.supports_turns = True
            return responses.parse_health(response, server.name)
        models = await server.http.get("/v1/models")
        if models.is_error:
            reason = f"/v1/models answers status {models.status_code}"
            raise DependencyDown(dependency=server.name, reason=reason)
        return None

    async def read_json(self, path: str) -> dict[str, Any]:
        """Return what GET answers at the next server; empty when it does not answer."""
        server = self.choose()
        if server is None:
            return {}
        try:
            response = await server.http.get(
                path, headers=tracing.make_headers(), timeout=READY_TIMEOUT_S
            )
            body = response.raise_for_status().json()
        except (httpx.HTTPError, ValueError):
            return {}
        return body if isinstance(body, dict) else {}

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run `work` as a background task, which `aclose` awaits or cancels."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def aclose(self) -> None:
        """Close the connections; background tasks get `CLOSE_TIMEOUT_S` to finish."""
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=CLOSE_TIMEOUT_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        for server in self.servers:
            await server.http.aclose()

    def _choose_next(
        self, attempts: _RequestAttempts, session: StickySession | None
    ) -> InferenceServer:
        if len(self.servers) == 1:
            return self.servers[0]
        for number in self.balancer.start_due_checks(self._clock()):
            self.spawn(self._check_and_record(self.servers[number]))
        now_s = self._clock()
        unsuitable = {
            server.number for server in self.servers if server.is_missing(attempts.path, now_s)
        }
        stick = session.server.number if session else None
        server = self.choose(attempts.tried | unsuitable, stick) or self.choose(attempts.tried)
        if server is None:
            msg = "`_should_retry` stops when all servers were tried"
            raise AssertionError(msg)
        attempts.tried.add(server.number)
        if session is not None and server is not session.server and stick not in unsuitable:
            session.move_to(server)
        return server

    def _should_retry(
        self, attempts: _RequestAttempts, error: Unavailable, server: InferenceServer
    ) -> bool:
        may_retry = attempts.allows_retry(error) and len(attempts.tried) < len(self.servers)
        if may_retry and len(self.servers) > 1:
            log.warning("gpu_other_server", code=error.code, url=server.url, reason=str(error))
            return True
        return False

    async def _check_and_record(self, server: InferenceServer) -> Degraded | Unavailable | None:
        result: Degraded | Unavailable | None
        try:
            result = await self.check(server)
        except Unavailable as error:
            result = error
        except asyncio.CancelledError:
            self.balancer.record_check(server.number, self._clock(), healthy=False)
            raise
        healthy = not isinstance(result, Unavailable)
        self.balancer.record_check(server.number, self._clock(), healthy=healthy)
        return result

    def _raise_for(self, response: httpx.Response, server: InferenceServer, path: str) -> None:
        error = responses.parse_error(response, server.name)
        if error is not None and response.status_code in MISSING_STATUSES:
            server.missing_until_s[path] = self._clock() + MISSING_TTL_S
            raise EndpointMissing(dependency=server.name, reason=error.fields.get("reason", ""))
        if error is not None:
            raise error

    @contextmanager
    def _track_request(self, server: InferenceServer, attempts: _RequestAttempts) -> Iterator[None]:
        """Report one request and its outcome to the load balancer."""
        assignment = self.balancer.begin(server.number)
        begun_s = self._clock()
        try:
            with self._translate_errors(server, self._timeout_s):
                yield
        except (BadInput, EndpointMissing):
            self.balancer.record_success(assignment)
            raise
        except Unavailable as error:
            if error.retry_after_s:
                self.balancer.record_busy(assignment, self._clock(), error.retry_after_s)
            else:
                self.balancer.record_failure(assignment, self._clock())
            raise
        except asyncio.CancelledError:
            now_s = self._clock()
            if not attempts.has_response and now_s - begun_s >= HANGING_AFTER_S:
                self.balancer.record_failure(assignment, now_s)
            raise
        else:
            self.balancer.record_success(assignment)
        finally:
            self.balancer.end(assignment)

    @contextmanager
    def _translate_errors(self, server: InferenceServer, limit_s: float) -> Iterator[None]:
        try:
            yield
        except (httpx.TimeoutException, TimeoutError) as error:
            connecting = isinstance(error, httpx.ConnectTimeout)
            limit_ms = round((min(limit_s, self._connect_s) if connecting else limit_s) * 1000)
            raise TimedOut(what=server.name, limit_ms=limit_ms) from error
        except httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
            raise DependencyDown(dependency=server.name, reason=reason) from error


def _headers(session: StickySession | None) -> Mapping[str, str]:
    headers = tracing.make_headers()
    return headers if session is None else {**headers, **session.headers}
