"""Connections of one server: number, deadlines, and which one is closed when there are too many.

A connection that waits for its client is replaced by a new one when there are too many: first those
without an authenticated request, longest first. So incomplete requests keep no client out.
"""

from __future__ import annotations

import asyncio
import ipaddress
import math
import socket
import struct
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain

import structlog

LOG_INTERVAL_S = 10.0
LOOPBACK = ("127.0.0.0/8", "::1/128", "::ffff:127.0.0.0/104")

log = structlog.get_logger()


@dataclass(frozen=True)
class HttpLimits:
    """Limits of one server; times are in seconds.

    Loopback and trusted proxies carry the connections of many clients: `per_address_max` does not
    apply to them, and `reserved` of the connections are for them alone, for the health probes.
    """

    header_max_bytes: int = 16 * 1024  # request line and headers
    header_s: float = 10.0
    body_stall_s: float = 10.0
    body_min_bytes_per_s: int = 1024
    keep_alive_s: float = 5.0
    unread_s: float = 30.0  # for the client to read 48 KiB of a response
    first_message_s: float = 60.0  # of a WebSocket
    close_s: float = 2.0
    connections_max: int = 1024
    reserved: int = 64
    per_address_max: int = 128

    @property
    def check_interval_s(self) -> float:
        shortest_s = min(self.header_s, self.body_stall_s, self.keep_alive_s, self.unread_s)
        return min(1.0, shortest_s / 4, self.first_message_s / 4, self.close_s / 4)


class ConnectionLimiter:
    """Connections of one server. Not thread-safe: used from its event loop."""

    def __init__(self, limits: HttpLimits, trusted_proxies: Iterable[str] = ()) -> None:
        self.limits = limits
        self._unlimited = tuple(map(ipaddress.ip_network, (*LOOPBACK, *trusted_proxies)))
        self._connections: set[LimitedConnection] = set()
        # Waiting for their clients, longest first; the second are those of authenticated clients.
        self._waiting: dict[LimitedConnection, None] = {}
        self._waiting_known: dict[LimitedConnection, None] = {}
        self._by_address: Counter[str] = Counter()
        self._ended: Counter[str] = Counter()
        self._logged_at = -math.inf
        self._timer: asyncio.TimerHandle | None = None

    def admit(self, connection: LimitedConnection) -> bool:
        """Add a connection, at the maximum in place of a waiting one; return False if refused."""
        limits, address = self.limits, connection.address
        replaceable: Iterable[LimitedConnection] = chain(self._waiting, self._waiting_known)
        is_unlimited = not address or self._is_unlimited(address)
        maximum = limits.connections_max - (0 if is_unlimited else limits.reserved)
        is_full = len(self._connections) >= maximum
        if not is_unlimited and self._by_address[address] >= limits.per_address_max:
            is_full = True
            replaceable = (one for one in replaceable if one.address == address)
        if is_full:
            replaced = next(iter(replaceable), None)
            if replaced is None:
                self.count_ended("too_many_connections")
                return False
            self.count_ended("replaced")
            self.remove(replaced)
            replaced.reset()
        self.add(connection)
        self.mark_waiting(connection)
        return True

    def add(self, connection: LimitedConnection) -> None:
        self._connections.add(connection)
        self._by_address[connection.address] += 1
        self._start_timer()

    def remove(self, connection: LimitedConnection) -> None:
        if connection not in self._connections:
            return
        self._connections.remove(connection)
        self.mark_serving(connection)
        self._by_address[connection.address] -= 1
        if not self._by_address[connection.address]:
            del self._by_address[connection.address]

    def mark_waiting(self, connection: LimitedConnection) -> None:
        """Let a new connection replace this one: it waits for its client."""
        if connection in self._connections:
            waiting = self._waiting_known if connection.is_known else self._waiting
            waiting.setdefault(connection)

    def mark_serving(self, connection: LimitedConnection) -> None:
        self._waiting.pop(connection, None)
        self._waiting_known.pop(connection, None)

    def count_ended(self, reason: str) -> None:
        self._ended[reason] += 1
        self._start_timer()

    def _is_unlimited(self, address: str) -> bool:
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in self._unlimited)

    def _start_timer(self) -> None:
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self.limits.check_interval_s, self._check)

    def _check(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        for connection in list(self._connections):
            connection.end_if_overdue(now)
        if self._ended and now - self._logged_at >= LOG_INTERVAL_S:
            self._logged_at = now
            open_now = len(self._connections)
            log.warning("connections_ended", **self._ended, open_connections=open_now)
            self._ended.clear()
        if self._connections or self._ended:
            self._start_timer()


class LimitedConnection(asyncio.Protocol, ABC):
    """Deadlines of one connection, for reading, for writing and for closing."""

    transport: asyncio.Transport
    client: tuple[str, int] | None
    limiter: ConnectionLimiter
    deadline: float = math.inf
    write_deadline: float = math.inf
    close_deadline: float = math.inf
    is_serving: bool = True  # the request is complete, the response is not
    is_known: bool = False  # had an authenticated request

    @property
    def address(self) -> str:
        return self.client[0] if self.client else ""

    def end_if_overdue(self, now: float) -> None:
        if self.transport.is_closing():
            self.close_deadline = min(self.close_deadline, now + self.limiter.limits.close_s)
            if now >= self.close_deadline:
                self.reset()
        elif now >= self.write_deadline:
            self.limiter.count_ended("response_not_read")
            self.reset()
        elif now >= self.deadline:
            self.deadline = math.inf
            self.end_overdue()

    @abstractmethod
    def end_overdue(self) -> None:
        """End the connection, or set its next deadline: the last one has passed."""

    def reset(self) -> None:
        """Close with a TCP reset: the kernel keeps neither the connection nor unsent data."""
        opened = self.transport.get_extra_info("socket")
        if opened is not None:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.limiter.remove(self)
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        now = asyncio.get_running_loop().time()
        self.write_deadline = now + self.limiter.limits.unread_s
        self.limiter.mark_waiting(self)
        super().pause_writing()

    def resume_writing(self) -> None:
        self.write_deadline = math.inf
        if self.is_serving:
            self.limiter.mark_serving(self)
        super().resume_writing()
