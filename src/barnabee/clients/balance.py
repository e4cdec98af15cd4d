"""Which of several servers gets the next request: the one with the least to do that works.

Pure: the time is an argument, nothing is sent from here. `servers.py` asks, and tells what came of
it.

    works      fewest outstanding requests first, the longest not chosen among equals
    set aside  it failed: left alone for FIRST_S, twice as long after each further failure, at most
               MOST_S; then somebody looks at its health, and when that is good it is on trial
    on trial   one request at a time; one that succeeds makes it a server like the others
    busy       it asked to be left alone for a while (Retry-After); no failure
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, field

FIRST_S, MOST_S = 0.5, 30.0
BUSY_MOST_S = 60.0  # whatever a server asks for


@dataclass(slots=True)
class Standing:
    """What is known of one server."""

    outstanding: int = 0
    failures: int = 0  # in a row
    aside_until_s: float = -math.inf
    vetted: bool = False  # somebody has found it well since it failed
    looking: bool = False  # somebody is looking
    chosen: int = 0  # when it was last chosen, in requests

    def open(self, now_s: float) -> bool:
        """Return whether it may be given a request."""
        if self.aside_until_s > now_s:
            return False
        return not self.failures or (self.vetted and not self.outstanding)


@dataclass(frozen=True, slots=True)
class Ticket:
    """One request to one server; it remembers how the server stood when it was sent."""

    server: int
    failures: int


@dataclass
class Balance:
    """The servers by number, and who is next."""

    count: int
    standings: list[Standing] = field(init=False)
    _requests: int = 0

    def __post_init__(self) -> None:
        """Begin with servers that are all believed to work."""
        self.standings = [Standing() for _ in range(self.count)]

    def choose(
        self, now_s: float, tried: Collection[int] = (), stick: int | None = None
    ) -> int | None:
        """Return the next server; None when all were tried.

        `stick` is taken while it works. When none works, the least bad is asked all the same.
        """
        if self.count == 1:
            return None if tried else 0
        left = [number for number in range(self.count) if number not in tried]
        able = [number for number in left if self.standings[number].open(now_s)]
        if stick in able:
            return stick
        if able:
            return min(able, key=self._load)
        return min(left, key=self._badness) if left else None

    def begin(self, server: int) -> Ticket:
        """Count a request to `server`; `end` must follow."""
        self._requests += 1
        standing = self.standings[server]
        standing.outstanding += 1
        standing.chosen = self._requests
        return Ticket(server, standing.failures)

    def end(self, ticket: Ticket) -> None:
        """Count a request as over, however it ended."""
        self.standings[ticket.server].outstanding -= 1

    def succeeded(self, ticket: Ticket) -> None:
        """Take note of an answer: the server works."""
        standing = self.standings[ticket.server]
        if standing.failures:
            standing.failures, standing.aside_until_s, standing.vetted = 0, -math.inf, False

    def failed(self, ticket: Ticket, now_s: float) -> None:
        """Take note of a failure; those of requests sent before the last failure count as one."""
        if self.standings[ticket.server].failures == ticket.failures:
            self._set_aside(ticket.server, now_s)

    def busy(self, ticket: Ticket, now_s: float, for_s: float) -> None:
        """Leave a server alone for as long as it asks."""
        standing = self.standings[ticket.server]
        until_s = now_s + min(max(for_s, 0.0), BUSY_MOST_S)
        standing.aside_until_s = max(standing.aside_until_s, until_s)

    def due(self, now_s: float) -> list[int]:
        """Return whom somebody should look at now; each is named once until `looked` is told."""
        found = [
            number
            for number, one in enumerate(self.standings)
            if one.failures and not one.vetted and not one.looking and one.aside_until_s <= now_s
        ]
        for number in found:
            self.standings[number].looking = True
        return found

    def looked(self, server: int, now_s: float, *, well: bool) -> None:
        """Take note of a look at a server's health."""
        standing = self.standings[server]
        standing.looking = False
        if well:
            standing.vetted = bool(standing.failures)
        elif standing.aside_until_s <= now_s:
            self._set_aside(server, now_s)

    def _set_aside(self, server: int, now_s: float) -> None:
        standing = self.standings[server]
        standing.failures += 1
        standing.vetted = False
        standing.aside_until_s = now_s + back_off_s(standing.failures)

    def _load(self, server: int) -> tuple[int, int]:
        standing = self.standings[server]
        return standing.outstanding, standing.chosen

    def _badness(self, server: int) -> tuple[int, float, int, int]:
        standing = self.standings[server]
        return standing.failures, standing.aside_until_s, *self._load(server)


def back_off_s(failures: int) -> float:
    """Return how long a server is left alone after so many failures in a row. Pure."""
    return min(MOST_S, math.ldexp(FIRST_S, min(failures, 16) - 1))
