"""ICE ports: WebRTC sockets within the UDP range of `[talk]`, which a firewall can then open.

aioice binds every socket to port 0 and has no option for a range. `restrict_ports` replaces the
`Connection` class in aiortc by one that gathers its host candidates from the range; on a LAN no
STUN or TURN candidates are needed.

mDNS candidates (`….local`, sent by browsers without microphone permission) are ignored: resolving
one takes a multicast socket outside the range and up to 5 s, while the connectivity checks of the
browser reveal its address anyway.
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
FIRST_CHECK_TIMEOUT_S = 30.0  # for the peer's first check, when it sent no usable candidate
POLL_INTERVAL_S = 0.02
_EXPECTED = ["self", "component", "addresses", "timeout"]

log = structlog.get_logger()


class PortRangeConnection(aioice.Connection):  # type: ignore[misc, unused-ignore]
    """ICE connection whose sockets are bound within `ports`."""

    ports: ClassVar[range] = range(1)

    async def get_component_candidates(
        self,
        component: int,
        addresses: list[str],
        timeout: int = 5,  # noqa: ARG002, ASYNC109 - aioice's own signature
    ) -> list[Candidate]:
        """Return a host candidate for each address with a free port in the range."""
        candidates = []
        for address in addresses:
            sock = bind_socket(address, self.ports)
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
            candidates.append(protocol.local_candidate)
        return candidates

    async def add_remote_candidate(self, remote_candidate: Candidate | None) -> None:
        """Add a candidate of the peer, unless it is an mDNS name."""
        if remote_candidate is not None and mdns.is_mdns_hostname(remote_candidate.host):
            return
        await super().add_remote_candidate(remote_candidate)

    async def connect(self) -> None:
        """Connect; without remote candidates, wait for the peer's first check."""
        async with asyncio.timeout(FIRST_CHECK_TIMEOUT_S):
            while not (self.remote_candidates or self._early_checks):  # noqa: ASYNC110 - no event
                await asyncio.sleep(POLL_INTERVAL_S)
        await super().connect()


def restrict_ports(ports: range) -> None:
    """Restrict new WebRTC connections to `ports`.

    Misconfigured when the internals of aiortc or aioice have changed.
    """
    current = vars(aiortc.rtcicetransport).get("Connection")
    is_replaceable = current in {aioice.Connection, PortRangeConnection}
    method = inspect.signature(aioice.Connection.get_component_candidates)
    if not is_replaceable or list(method.parameters) != _EXPECTED:
        what = "This version of aiortc or aioice gathers candidates in an unknown way"
        raise Misconfigured(what=f"{what}: see voice/transports/ice_ports.py")
    PortRangeConnection.ports = ports
    aiortc.rtcicetransport.Connection = PortRangeConnection  # type: ignore[misc, attr-defined, unused-ignore]


def bind_socket(address: str, ports: range) -> socket.socket | None:
    """Return a UDP socket on a free port of `ports`, or None."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    for port in rotate_ports(ports):
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


def rotate_ports(ports: range) -> Iterable[int]:
    """Return the ports from a random start: a closed session may still receive packets."""
    start = random.randrange(len(ports))  # noqa: S311 - guards no secret
    return [*ports[start:], *ports[:start]]
