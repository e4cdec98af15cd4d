"""Turns on the inference service: the models of one spoken turn stay loaded until it ends.

Turns begin and end in the background, so they never delay a request; a server without turns is used
without them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING
from urllib.parse import quote

import httpx
import structlog

from barnabee.clients.load_balancer import InferenceServer, StickySession
from barnabee.clients.servers import ServerPool
from barnabee.core import trace_context

if TYPE_CHECKING:
    from asyncio import Task

SESSION_HEADER = "X-Barnabee-Session"
BEGIN_TIMEOUT_S = 20.0  # its models may have to be loaded first: gpu.wait_limit_ms
END_TIMEOUT_S = 1.5
_UNSUPPORTED = frozenset({404, 405, 501})

log = structlog.get_logger()


class StickyTurn(StickySession):
    """Active turn: its preferred server and the servers at which it has begun."""

    def __init__(self, pool: ServerPool, server: InferenceServer, session: str) -> None:
        super().__init__(server)
        self.pool = pool
        self.session = quote(session, safe=":")[:200]  # header values are limited
        self._begun: list[tuple[InferenceServer, Task[str | None]]] = []
        self._begin()

    @property
    def headers(self) -> Mapping[str, str]:
        return {SESSION_HEADER: self.session}

    def move_to(self, server: InferenceServer) -> None:
        """Continue at another server after a failover."""
        super().move_to(server)
        self._begin()

    def end(self) -> None:
        """End the turn at all servers, in the background."""
        for server, begun in self._begun:
            self.pool.spawn(self._end_at(server, begun))

    def _begin(self) -> None:
        if self.server.supports_turns and all(
            self.server is not server for server, _ in self._begun
        ):
            self._begun.append((self.server, self.pool.spawn(self._begin_at(self.server))))

    async def _begin_at(self, server: InferenceServer) -> str | None:
        try:
            response = await server.http.post(
                "/v1/turns",
                json={"session": self.session},
                headers=trace_context.make_headers(),
                timeout=BEGIN_TIMEOUT_S,
            )
            if response.status_code in _UNSUPPORTED:
                server.supports_turns = False
                return None
            return str(response.raise_for_status().json()["id"])
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            log.warning("turn_not_begun", code="turn", url=server.url, reason=repr(error))
            return None

    async def _end_at(self, server: InferenceServer, begun: Task[str | None]) -> None:
        turn = await begun
        if turn is None:
            return
        try:
            await server.http.delete(
                f"/v1/turns/{quote(turn, safe='')}",
                headers=trace_context.make_headers(),
                timeout=END_TIMEOUT_S,
            )
        except httpx.HTTPError as error:  # the server ends it after gpu.turn_limit_ms
            log.warning("turn_not_ended", code="turn", url=server.url, reason=repr(error))


_CURRENT: ContextVar[StickyTurn | None] = ContextVar("turn", default=None)


def find_current_turn(pool: ServerPool) -> StickyTurn | None:
    """Return the current task's turn if it belongs to `pool`."""
    turn = _CURRENT.get()
    return turn if turn is not None and turn.pool is pool else None


@asynccontextmanager
async def run_turn(pool: ServerPool, session: str) -> AsyncIterator[None]:
    """Make all requests in the block part of one turn of `session`, at one server if possible."""
    server = pool.choose()
    if server is None:  # never: nothing was tried yet
        yield
        return
    turn = StickyTurn(pool, server, session)
    reset_token = _CURRENT.set(turn)
    try:
        yield
    finally:
        _CURRENT.reset(reset_token)
        turn.end()
