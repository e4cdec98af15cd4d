"""What must be true before anything starts: one runner, no leftovers, secrets, free ports."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager

from barnabee.core.errors import PortTaken
from barnabee.core.schema import Service
from barnabee.up import orphans, run_state, secrets
from barnabee.up.node_commands import House


@contextmanager
def takeover(house: House) -> Iterator[list[str]]:
    """Hold this directory for one runner; the value names the leftovers that were ended.

    Raises AlreadyRunning, PortTaken or SettingMissing before anything was started.
    """
    house.paths.make()
    handle = run_state.lock(house.paths)
    try:
        secrets.make(house.paths)
        cleared = orphans.end(run_state.left(house.paths))
        free_ports(house.graph().nodes, house.environment.get("BARNABEE_BIND") or "127.0.0.1")
        yield cleared
    finally:
        secrets.take_back(house.paths)
        os.close(handle)


def free_ports(nodes: Mapping[str, Service], bind: str) -> None:
    """Raise PortTaken for the first port that somebody else has, naming who where visible."""
    for name, node in nodes.items():
        for host in dict.fromkeys(("127.0.0.1", bind)):
            if node.port is not None and _taken(host, node.port):
                from barnabee.core.serve import port_owner  # noqa: PLC0415 - only for the message

                raise PortTaken(port=node.port, service=name, owner=port_owner(node.port))


def _taken(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with closing(socket.socket(family, socket.SOCK_STREAM)) as attempt:
        attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            attempt.bind((host, port))
            attempt.listen(1)
        except OSError:
            return True
    return False
