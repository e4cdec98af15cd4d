"""Keeps WebRTC's sockets to the UDP ports of `[talk]`, so that a firewall can know them.

aioice binds every socket to port 0, which is any port, and has no option for a range. aiortc makes
its `Connection` by the name it imported: `keep_to` puts a subclass there that gathers its host
candidates from the range. There is nothing else to gather on a LAN: no STUN, no TURN.

mDNS candidates (`….local`, what a browser sends before it may use the microphone) are left out: to
resolve one takes a multicast socket outside the range and up to 5 s, and is not needed, because the
browser's own checks tell its address.
"""

from __future__ import annotations

import asyncio
import inspect
import random
import socket
from collections.abc import Iterable
from typing import ClassVar

import aioice
import aiortc.rtcicetransport
import structlog
from aioice import mdns
from aioice.candidate import Candidate, candidate_foundation, candidate_priority
from aioice.ice import StunProtocol

from barnabee.core.errors import Misconfigured

RECEIVE_BUFFER_BYTES = 262_144
FIRST_CHECK_S = 30.0  # for the other side to be heard of, when none of its addresses is usable
LOOK_EVERY_S = 0.02
_EXPECTED = ["self", "component", "addresses", "timeout"]

log = structlog.get_logger()


class RangedConnection(aioice.Connection):  # type: ignore[misc, unused-ignore]
    """An ICE connection whose sockets are bound within `ports`."""

    ports: ClassVar[range] = range(1)

    async def get_component_candidates(
        self,
        component: int,
        addresses: list[str],
        timeout: int = 5,  # noqa: ARG002, ASYNC109 - aioice's own signature
    ) -> list[Candidate]:
        """Return a host candidate for each address that has a free port in the range."""
        found = []
        for address in addresses:
            sock = bound(address, self.ports)
            if sock is None:
                log.warning("no_media_port", code="overloaded", address=address)
                continue
            loop = asyncio.get_running_loop()
            _, protocol = await loop.create_datagram_endpoint(lambda: StunProtocol(self), sock=sock)
            host, port = protocol.transport.get_extra_info("sockname")[:2]
            protocol.local_candidate = Candidate(
                foundation=candidate_foundation("host", "udp", host),
                component=component,
                transport="udp",
                priority=candidate_priority(component, "host"),
                host=host,
                port=port,
                type="host",
            )
            self._protocols.append(protocol)
            found.append(protocol.local_candidate)
        return found

    async def add_remote_candidate(self, remote_candidate: Candidate | None) -> None:
        """Take a candidate of the other side, unless only multicast could tell its address."""
        if remote_candidate is not None and mdns.is_mdns_hostname(remote_candidate.host):
            return
        await super().add_remote_candidate(remote_candidate)

    async def connect(self) -> None:
        """Connect; the other side may be the one who is first heard of."""
        async with asyncio.timeout(FIRST_CHECK_S):
            while not (self.remote_candidates or self._early_checks):  # noqa: ASYNC110 - no event
                await asyncio.sleep(LOOK_EVERY_S)
        await super().connect()


def keep_to(ports: range) -> None:
    """Bind whatever WebRTC binds from now on within `ports`.

    Misconfigured when aiortc or aioice are no longer built the way this relies on.
    """
    used = vars(aiortc.rtcicetransport).get("Connection")
    known = used in {aioice.Connection, RangedConnection}
    method = inspect.signature(aioice.Connection.get_component_candidates)
    if not known or list(method.parameters) != _EXPECTED:
        what = "This version of aiortc or aioice gathers its candidates in another way"
        raise Misconfigured(what=f"{what}: see voice/transports/ice_ports.py")
    RangedConnection.ports = ports
    aiortc.rtcicetransport.Connection = RangedConnection  # type: ignore[misc, attr-defined, unused-ignore]


def bound(address: str, ports: range) -> socket.socket | None:
    """Return a UDP socket at `address` and a free port of `ports`; None when there is none."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    for port in shuffled(ports):
        sock = socket.socket(family, socket.SOCK_DGRAM)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
            sock.setblocking(False)
            sock.bind((address, port))
        except OSError:
            sock.close()
        else:
            return sock
    return None


def shuffled(ports: range) -> Iterable[int]:
    """Return the ports from a random one on: a session that just ended may still get packets."""
    start = random.randrange(len(ports))  # noqa: S311 - guards no secret
    return [*ports[start:], *ports[:start]]
