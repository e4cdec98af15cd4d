"""Load balancing between inference servers: least outstanding requests, with back-off.

    available  fewest outstanding requests first, among equals the least recently chosen
    paused     it failed: no requests for FIRST_BACKOFF_S, doubled with each further failure, at
               most MAX_BACKOFF_S; then a successful health check puts it on trial
    on trial   one request at a time; the first success makes it available
    busy       no requests for as long as its Retry-After says; this is no failure

`LoadBalancer` is pure: the time is an argument and it sends nothing.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httpx

from barnabee.core.errors import DependencyDown
from barnabee.core.rate_limit import backoff_s

FIRST_BACKOFF_S, MAX_BACKOFF_S = 0.5, 30.0
MAX_BUSY_S = 60.0  # limit of a server's Retry-After
CONNECT_TIMEOUT_S = 2.0  # an unreachable host must not delay the connection to another server


@dataclass(slots=True)
class ServerState:
    """Load and failures of one server."""

    outstanding: int = 0
    failures: int = 0  # consecutive
    paused_until_s: float = -math.inf
    is_on_trial: bool = False  # its health check succeeded after the last failure
    is_being_checked: bool = False
    last_chosen: int = 0  # sequence number of its last request

    def is_available(self, now_s: float) -> bool:
        if self.paused_until_s > now_s:
            return False
        return not self.failures or (self.is_on_trial and not self.outstanding)


@dataclass(frozen=True, slots=True)
class ServerAssignment:
    """One request to one server, with the server's failures when it was sent."""

    server: int
    failures_before: int


@dataclass
class LoadBalancer:
    """Choice of the next server, by its number."""

    count: int
    states: list[ServerState] = field(init=False)
    _requests: int = 0

    def __post_init__(self) -> None:
        self.states = [ServerState() for _ in range(self.count)]

    def choose(
        self, now_s: float, tried: Collection[int] = (), stick: int | None = None
    ) -> int | None:
        """Return the next server, or None when all were tried.

        `stick` is preferred while it is available. When none is, the one with the fewest failures
        is chosen.
        """
        if self.count == 1:
            return None if tried else 0
        left = [number for number in range(self.count) if number not in tried]
        available = [number for number in left if self.states[number].is_available(now_s)]
        if stick in available:
            return stick
        if available:
            return min(available, key=self._load)
        return min(left, key=self._badness) if left else None

    def begin(self, server: int) -> ServerAssignment:
        """Count a request to `server`; the caller must call `end`."""
        self._requests += 1
        state = self.states[server]
        state.outstanding += 1
        state.last_chosen = self._requests
        return ServerAssignment(server, state.failures)

    def end(self, assignment: ServerAssignment) -> None:
        """Count a request as finished, with any outcome."""
        self.states[assignment.server].outstanding -= 1

    def record_success(self, assignment: ServerAssignment) -> None:
        state = self.states[assignment.server]
        if state.failures:
            state.failures, state.paused_until_s, state.is_on_trial = 0, -math.inf, False

    def record_failure(self, assignment: ServerAssignment, now_s: float) -> None:
        """Pause the server; failures of requests sent before the last failure count once."""
        if self.states[assignment.server].failures == assignment.failures_before:
            self._pause(assignment.server, now_s)

    def record_busy(self, assignment: ServerAssignment, now_s: float, for_s: float) -> None:
        """Pause the server for its Retry-After, without counting a failure."""
        state = self.states[assignment.server]
        until_s = now_s + min(max(for_s, 0.0), MAX_BUSY_S)
        state.paused_until_s = max(state.paused_until_s, until_s)

    def start_due_checks(self, now_s: float) -> list[int]:
        """Return the servers that are due a health check, each once until `record_check`."""
        due = [
            number
            for number, state in enumerate(self.states)
            if state.failures
            and not state.is_on_trial
            and not state.is_being_checked
            and state.paused_until_s <= now_s
        ]
        for number in due:
            self.states[number].is_being_checked = True
        return due

    def record_check(self, server: int, now_s: float, *, healthy: bool) -> None:
        state = self.states[server]
        state.is_being_checked = False
        if healthy:
            state.is_on_trial = bool(state.failures)
        elif state.paused_until_s <= now_s:
            self._pause(server, now_s)

    def _pause(self, server: int, now_s: float) -> None:
        state = self.states[server]
        state.failures += 1
        state.is_on_trial = False
        state.paused_until_s = now_s + backoff_s(state.failures, FIRST_BACKOFF_S, MAX_BACKOFF_S)

    def _load(self, server: int) -> tuple[int, int]:
        state = self.states[server]
        return state.outstanding, state.last_chosen

    def _badness(self, server: int) -> tuple[int, float, int, int]:
        state = self.states[server]
        return state.failures, state.paused_until_s, *self._load(server)


@dataclass(eq=False)
class InferenceServer:
    """One inference server and its connection pool."""

    number: int
    url: str
    name: str  # in error messages
    http: httpx.AsyncClient
    supports_turns: bool = True  # whether it has /v1/turns
    missing_until_s: dict[str, float] = field(default_factory=dict)  # by path

    def is_missing(self, path: str, now_s: float) -> bool:
        """Return whether `path` was missing on this server within the last minute."""
        return bool(self.missing_until_s) and self.missing_until_s.get(path, now_s) > now_s


class EndpointMissing(DependencyDown):
    """{dependency} does not answer ({reason})."""


class StickySession:
    """Preference for one server, moved to another one when that fails."""

    def __init__(self, server: InferenceServer) -> None:
        self.server = server

    @property
    def headers(self) -> Mapping[str, str]:
        """Headers of the session's requests."""
        return {}

    def move_to(self, server: InferenceServer) -> None:
        self.server = server


class WakeServerPool:
    """Wake-word connections of all rooms of a voice service, spread over its inference servers.

    A connection lasts for days, so connections are balanced apart from requests. A paused server is
    tried with one connection instead of a health check.
    """

    def __init__(self, urls: Sequence[str], *, clock: Callable[[], float] = time.monotonic) -> None:
        self.urls = tuple(urls)
        self._balancer = LoadBalancer(len(self.urls))
        self._clock = clock

    def begin(self, tried: Collection[int]) -> ServerAssignment | None:
        """Count a connection at the next server; None when all were tried.

        The caller must call `end`.
        """
        now_s = self._clock()
        for due in self._balancer.start_due_checks(now_s):
            self._balancer.record_check(due, now_s, healthy=True)
        number = self._balancer.choose(now_s, tried)
        return None if number is None else self._balancer.begin(number)

    async def check_reachable(self, assignment: ServerAssignment) -> None:
        """Raise OSError when the server's host is unreachable; a single server is not checked."""
        if len(self.urls) == 1:
            return
        parts = urlsplit(self.urls[assignment.server])
        port = parts.port or (443 if parts.scheme == "https" else 80)
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            _, writer = await asyncio.open_connection(parts.hostname, port)
        writer.close()

    def record_connected(self, assignment: ServerAssignment) -> None:
        self._balancer.record_success(assignment)

    def end(self, assignment: ServerAssignment, *, failed: bool) -> None:
        """Count a connection as closed; a failed or lost one pauses its server."""
        if failed:
            self._balancer.record_failure(assignment, self._clock())
        self._balancer.end(assignment)
