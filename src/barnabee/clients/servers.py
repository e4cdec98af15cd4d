"""The servers behind GPU_SERVICE_URL: sends each request to one of them, and to another if need be.

A request is sent again only while nothing of an answer has reached the caller, at most once;
servers that refuse the connection, or do not do this kind of work, do not count. `balance.py`
decides who is asked; this is the shell around it: connections, clock, looks at the health of
whoever was set aside.
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
from barnabee.clients.balance import Balance
from barnabee.clients.server import Keeper, Lacking, Server
from barnabee.core import trace_context
from barnabee.core.errors import BadInput, DependencyDown, TimedOut, Unavailable
from barnabee.core.health import Degraded

T = TypeVar("T")
READY_TIMEOUT_S = 1.5  # below a health check's 2 s, so that one silent server is named, not all
# With several servers: one whose machine is gone must not cost a person more than this.
CONNECT_TIMEOUT_S = 2.0
# A caller that gives up before any answer after this long has met a server that hangs.
SLOW_S = 0.8
# A server that answers 404 does other work (a server of one model), or calls its model otherwise.
LACKING = frozenset({404, 405, 501})
LACKS_S = 60.0
LEAVE_S = 2.0
POOL = httpx.Limits(max_connections=32, max_keepalive_connections=16, keepalive_expiry=60)

log = structlog.get_logger()


@dataclass
class _Attempts:
    """One request's way from server to server."""

    path: str
    tried: set[int] = field(default_factory=set)
    again: int = 1
    answered: bool = False  # something has reached the caller

    def may_go_on(self, error: Unavailable) -> bool:
        """Return whether another server may be asked."""
        if not isinstance(error.__cause__, httpx.ConnectError) and not isinstance(error, Lacking):
            self.again -= 1
        return self.again >= 0 and not self.answered


class Servers:
    """All servers; `pick` and `moved` are how a turn keeps to one of them."""

    def __init__(
        self,
        urls: Sequence[str],
        token: str,
        *,
        timeout_s: float,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Connect lazily; see `gpu.GpuClient`."""
        several = len(urls) > 1
        self._timeout_s = timeout_s
        self._connect_s = min(timeout_s, CONNECT_TIMEOUT_S) if several else timeout_s
        self._clock = clock
        self.balance = Balance(len(urls))
        self._tasks: set[asyncio.Task[Any]] = set()
        self.every = [
            Server(
                number,
                url,
                f"{responses.NAME} at {url}" if several else responses.NAME,
                httpx.AsyncClient(
                    base_url=url,
                    headers={"Authorization": f"Bearer {token}"},
                    timeout=httpx.Timeout(timeout_s, connect=self._connect_s),
                    limits=POOL,
                    transport=transport,
                ),
            )
            for number, url in enumerate(urls)
        ]

    def pick(self, tried: set[int] | None = None, stick: int | None = None) -> Server | None:
        """Return who should be asked now; None when all were tried."""
        number = self.balance.choose(self._clock(), tried or (), stick)
        return None if number is None else self.every[number]

    async def post(
        self,
        path: str,
        read: Callable[[httpx.Response], T],
        keep_to: Keeper | None = None,
        **content: Any,
    ) -> T:
        """Return what `read` makes of the answer; it raises DependencyDown for nonsense."""
        attempts = _Attempts(path)
        while True:
            server = self._next(attempts, keep_to)
            try:
                with self._counted(server, attempts):
                    response = await server.http.post(path, headers=_headers(keep_to), **content)
                    self._raise_for(response, server, path)
                    return read(response)
            except Unavailable as error:
                if not self._go_on(attempts, error, server):
                    raise

    async def stream(
        self, path: str, keep_to: Keeper | None = None, **content: Any
    ) -> AsyncGenerator[bytes, None]:
        """Yield the answer as it comes; once something has come no other server is asked."""
        attempts = _Attempts(path)
        while True:
            server = self._next(attempts, keep_to)
            try:
                with self._counted(server, attempts):
                    request = server.http.stream("POST", path, headers=_headers(keep_to), **content)
                    async with request as response:
                        if response.is_error:
                            await response.aread()
                        self._raise_for(response, server, path)
                        async for chunk in response.aiter_bytes():
                            attempts.answered = True
                            yield chunk
                    return
            except Unavailable as error:
                if not self._go_on(attempts, error, server):
                    raise

    async def ready(self) -> Degraded | None:
        """Return None when all are well, Degraded when some are; DependencyDown when none is."""
        if len(self.every) == 1:
            return await self.look(self.every[0])
        looks = (self._look_and_tell(server) for server in self.every)
        found = await asyncio.gather(*looks)
        bad = [str(one) if isinstance(one, Unavailable) else one.message for one in found if one]
        if all(isinstance(one, Unavailable) for one in found):
            raise DependencyDown(dependency=responses.NAME, reason="; ".join(bad))
        return Degraded("gpu_degraded", "; ".join(bad)) if bad else None

    async def look(self, server: Server) -> Degraded | None:
        """Return how a server is; one that is not ours is well when it lists its models."""
        with self._named_failures(server, READY_TIMEOUT_S):
            return await asyncio.wait_for(self._look(server), READY_TIMEOUT_S)

    async def _look(self, server: Server) -> Degraded | None:
        response = await server.http.get("/health/ready")
        if responses.is_report(response):
            server.turns = True
            return responses.health(response, server.name)
        listed = await server.http.get("/v1/models")
        if listed.is_error:
            reason = f"/v1/models answers status {listed.status_code}"
            raise DependencyDown(dependency=server.name, reason=reason)
        return None

    async def ledger(self) -> dict[str, Any]:
        """Return GET /v1/vram of the server that would be asked now; empty when there is none."""
        server = self.pick()
        if server is None:
            return {}
        try:
            response = await server.http.get(
                "/v1/vram", headers=trace_context.headers(), timeout=READY_TIMEOUT_S
            )
            found = response.raise_for_status().json()
        except (httpx.HTTPError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run `work` beside the caller; it raises nothing but what whoever awaits it expects."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def aclose(self) -> None:
        """Close the connections; what runs beside the caller may end first, for a moment."""
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=LEAVE_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        for server in self.every:
            await server.http.aclose()

    def _next(self, attempts: _Attempts, keep_to: Keeper | None) -> Server:
        if len(self.every) == 1:
            return self.every[0]
        for number in self.balance.due(self._clock()):
            self.spawn(self._look_and_tell(self.every[number]))
        now_s = self._clock()
        lacking = {one.number for one in self.every if one.lacks(attempts.path, now_s)}
        stick = keep_to.server.number if keep_to else None
        server = self.pick(attempts.tried | lacking, stick) or self.pick(attempts.tried)
        if server is None:
            msg = "`_go_on` lets nobody come here"
            raise AssertionError(msg)
        attempts.tried.add(server.number)
        if keep_to is not None and server is not keep_to.server and stick not in lacking:
            keep_to.move(server)
        return server

    def _go_on(self, attempts: _Attempts, error: Unavailable, server: Server) -> bool:
        on = attempts.may_go_on(error) and len(attempts.tried) < len(self.every)
        if on and len(self.every) > 1:
            log.warning("gpu_other_server", code=error.code, url=server.url, reason=str(error))
            return True
        return False

    async def _look_and_tell(self, server: Server) -> Degraded | Unavailable | None:
        found: Degraded | Unavailable | None
        try:
            found = await self.look(server)
        except Unavailable as error:
            found = error
        except asyncio.CancelledError:
            self.balance.looked(server.number, self._clock(), well=False)
            raise
        well = not isinstance(found, Unavailable)
        self.balance.looked(server.number, self._clock(), well=well)
        return found

    def _raise_for(self, response: httpx.Response, server: Server, path: str) -> None:
        error = responses.error_of(response, server.name)
        if error is not None and response.status_code in LACKING:
            server.lacks_until_s[path] = self._clock() + LACKS_S
            raise Lacking(dependency=server.name, reason=error.fields.get("reason", ""))
        if error is not None:
            raise error

    @contextmanager
    def _counted(self, server: Server, attempts: _Attempts) -> Iterator[None]:
        """Count one request and tell the balance what came of it."""
        ticket = self.balance.begin(server.number)
        begun_s = self._clock()
        try:
            with self._named_failures(server, self._timeout_s):
                yield
        except (BadInput, Lacking):
            self.balance.succeeded(ticket)
            raise
        except Unavailable as error:
            if error.retry_after_s:
                self.balance.busy(ticket, self._clock(), error.retry_after_s)
            else:
                self.balance.failed(ticket, self._clock())
            raise
        except asyncio.CancelledError:
            now_s = self._clock()
            if not attempts.answered and now_s - begun_s >= SLOW_S:
                self.balance.failed(ticket, now_s)
            raise
        else:
            self.balance.succeeded(ticket)
        finally:
            self.balance.end(ticket)

    @contextmanager
    def _named_failures(self, server: Server, limit_s: float) -> Iterator[None]:
        try:
            yield
        except (httpx.TimeoutException, TimeoutError) as error:
            connecting = isinstance(error, httpx.ConnectTimeout)
            limit_ms = round((min(limit_s, self._connect_s) if connecting else limit_s) * 1000)
            raise TimedOut(what=server.name, limit_ms=limit_ms) from error
        except httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
            raise DependencyDown(dependency=server.name, reason=reason) from error


def _headers(keep_to: Keeper | None) -> Mapping[str, str]:
    return (
        trace_context.headers()
        if keep_to is None
        else {**trace_context.headers(), **keep_to.headers}
    )
