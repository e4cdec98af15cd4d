"""Runs a few nodes for the length of a block, without the runner: what `restore` needs."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager

from barnabee.core.errors import DependencyDown
from barnabee.up import node_commands, orphans
from barnabee.up.node_commands import House

_POLL_S = 0.05


@contextmanager
def running(house: House, names: Sequence[str]) -> Iterator[None]:
    """Start the nodes, wait until their ports answer, and end them with the block."""
    with ExitStack() as stack:
        for name in names:
            stack.enter_context(_running(house, name))
        yield


@contextmanager
def _running(house: House, name: str) -> Iterator[None]:
    command = node_commands.command_for(name, house)
    environment = node_commands.environment_for(house, name) | dict(command.environment)
    process = subprocess.Popen(
        command.argv,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        node = house.system.nodes()[name]
        _wait(name, process, node.port or 0, time.monotonic() + node.startup_budget_s)
        yield
    finally:
        orphans.end(orphans.find(house.paths.run_id, name))
        process.wait()


def _wait(name: str, process: subprocess.Popen[bytes], port: int, deadline_s: float) -> None:
    while process.poll() is None and time.monotonic() < deadline_s:
        with closing(socket.socket()) as attempt:
            if attempt.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(_POLL_S)
    raise DependencyDown(dependency=name, reason=f"nobody listens on port {port}")
