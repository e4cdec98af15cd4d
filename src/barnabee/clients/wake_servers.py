"""Which of several inference services listens for a room's wake words.

A link lasts for days, so links are counted apart from requests; otherwise it goes by the same rules
(`balance.py`): the one with the fewest, and another one at once when that fails. A server that was
set aside is looked at by trying it, one link at a time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Sequence
from urllib.parse import urlsplit

from barnabee.clients.balance import Balance, Ticket

CONNECT_TIMEOUT_S = 2.0  # a machine that is gone must not keep a room deaf while another one works


class WakeServers:
    """The services at GPU_SERVICE_URL for all rooms of one voice service."""

    def __init__(self, urls: Sequence[str], *, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin with no links."""
        self.urls = tuple(urls)
        self._balance = Balance(len(self.urls))
        self._clock = clock

    def links(self) -> list[int]:
        """Return how many links each server has, or is being asked for."""
        return [one.outstanding for one in self._balance.standings]

    def begin(self, tried: Collection[int]) -> Ticket | None:
        """Return the next server for a link, counted as its; None when all were tried.

        `end` must follow.
        """
        now_s = self._clock()
        for due in self._balance.due(now_s):
            self._balance.looked(due, now_s, well=True)
        number = self._balance.choose(now_s, tried)
        return None if number is None else self._balance.begin(number)

    async def reach(self, ticket: Ticket) -> None:
        """Return when the server's machine answers; raises OSError. With one alone, at once."""
        if len(self.urls) == 1:
            return
        parts = urlsplit(self.urls[ticket.server])
        port = parts.port or (443 if parts.scheme == "https" else 80)
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            _, writer = await asyncio.open_connection(parts.hostname, port)
        writer.close()

    def linked(self, ticket: Ticket) -> None:
        """Take note that there is a link."""
        self._balance.succeeded(ticket)

    def end(self, ticket: Ticket, *, failed: bool) -> None:
        """Count a link as over; one that failed, or was lost, sets its server aside."""
        if failed:
            self._balance.failed(ticket, self._clock())
        self._balance.end(ticket)
