"""A spoken turn on the inference service: what it needs stays on the card until it is answered.

Never in the way of an answer: the turn is begun and ended beside the requests, and a server that
has no turns, or none to give, is used without.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING
from urllib.parse import quote

import httpx
import structlog

from barnabee.clients.server import Keeper, Server
from barnabee.clients.servers import Servers
from barnabee.core import trace_context

if TYPE_CHECKING:
    from asyncio import Task

SESSION_HEADER = "X-Barnabee-Session"
BEGIN_TIMEOUT_S = 20.0  # what it needs may have to be loaded first: card.wait_limit_ms
END_TIMEOUT_S = 1.5
_ABSENT = frozenset({404, 405, 501})

log = structlog.get_logger()


class Turn(Keeper):
    """A turn that runs: which server it keeps to, and what it began where."""

    def __init__(self, servers: Servers, server: Server, session: str) -> None:
        """Begin on `server`, without waiting for it."""
        super().__init__(server)
        self.servers = servers
        self.session = quote(session, safe=":")[:200]  # a header takes no more
        self._begun: list[tuple[Server, Task[str | None]]] = []
        self._begin()

    @property
    def headers(self) -> Mapping[str, str]:
        """Return what says whose requests these are."""
        return {SESSION_HEADER: self.session}

    def move(self, server: Server) -> None:
        """Go on at another server: the one it was on does not work any more."""
        super().move(server)
        self._begin()

    def end(self) -> None:
        """End it wherever it was begun, without waiting."""
        for server, begun in self._begun:
            self.servers.spawn(self._end_at(server, begun))

    def _begin(self) -> None:
        if self.server.turns and all(self.server is not server for server, _ in self._begun):
            self._begun.append((self.server, self.servers.spawn(self._begin_at(self.server))))

    async def _begin_at(self, server: Server) -> str | None:
        try:
            response = await server.http.post(
                "/v1/turns",
                json={"session": self.session},
                headers=trace_context.headers(),
                timeout=BEGIN_TIMEOUT_S,
            )
            if response.status_code in _ABSENT:
                server.turns = False
                return None
            return str(response.raise_for_status().json()["id"])
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            log.warning("turn_not_begun", code="turn", url=server.url, reason=repr(error))
            return None

    async def _end_at(self, server: Server, begun: Task[str | None]) -> None:
        turn = await begun
        if turn is None:
            return
        try:
            await server.http.delete(
                f"/v1/turns/{quote(turn, safe='')}",
                headers=trace_context.headers(),
                timeout=END_TIMEOUT_S,
            )
        except httpx.HTTPError as error:  # it ends by itself after card.turn_limit_ms
            log.warning("turn_not_ended", code="turn", url=server.url, reason=repr(error))


_CURRENT: ContextVar[Turn | None] = ContextVar("turn", default=None)


def current(servers: Servers) -> Turn | None:
    """Return the turn that this task is in, if it is one of `servers`."""
    turn = _CURRENT.get()
    return turn if turn is not None and turn.servers is servers else None


@asynccontextmanager
async def running(servers: Servers, session: str) -> AsyncIterator[None]:
    """Make every request inside part of one turn of `session`, on one server while that works."""
    server = servers.pick()
    if server is None:  # there is always one
        yield
        return
    turn = Turn(servers, server, session)
    before = _CURRENT.set(turn)
    try:
        yield
    finally:
        _CURRENT.reset(before)
        turn.end()
