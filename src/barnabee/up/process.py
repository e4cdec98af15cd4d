"""One child process in a session of its own: its lines, its end, and nothing of it left behind.

Knows how to start and stop a program; knows neither the graph nor what the program is for.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import psutil

from barnabee.core.errors import Misconfigured
from barnabee.up import orphans
from barnabee.up.logfile import Lines
from barnabee.up.node_commands import MARK, NODE

_PIPES_END_S = 1.0

OnLine = Callable[[str], None]


class _Ears(asyncio.SubprocessProtocol):
    """Hears lines, the program's end, and the end of its pipes, which grandchildren may hold."""

    def __init__(self, on_line: OnLine) -> None:
        loop = asyncio.get_running_loop()
        self.exited: asyncio.Future[None] = loop.create_future()
        self.closed: asyncio.Future[None] = loop.create_future()
        self._on_line = on_line
        self._lines = {1: Lines(), 2: Lines()}

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        for line in self._lines[fd].feed(data):
            self._on_line(line)

    def pipe_connection_lost(self, fd: int, _exc: Exception | None) -> None:
        for line in self._lines[fd].end() if fd in self._lines else ():
            self._on_line(line)

    def process_exited(self) -> None:
        if not self.exited.done():
            self.exited.set_result(None)

    def connection_lost(self, _exc: Exception | None) -> None:
        if not self.closed.done():
            self.closed.set_result(None)


class Child:
    """A running program; `spawn` makes one."""

    def __init__(
        self, transport: asyncio.SubprocessTransport, ears: _Ears, run_id: str, node: str
    ) -> None:
        """Take over a program that was just started."""
        self.pid = transport.get_pid()
        self.started = _start_time(self.pid)
        self._transport = transport
        self._ears = ears
        self._run_id = run_id
        self._node = node

    async def exited(self) -> int:
        """Wait until the program itself has ended; return its status, negative for a signal."""
        await asyncio.shield(self._ears.exited)
        return self._transport.get_returncode() or 0

    def kill(self) -> None:
        """End the program, and what it started, at once."""
        self._signal(signal.SIGKILL)

    async def stop(self, grace_s: float) -> int:
        """Ask them to stop, wait `grace_s`, kill; return the program's status."""
        self._signal(signal.SIGTERM)
        with suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                return await self.exited()
        self.kill()
        return await self.exited()

    async def sweep(self) -> None:
        """After the program's end: kill what it left behind and hear its last lines."""
        await asyncio.to_thread(_sweep, self._run_id, self._node, {self.pid: self.started})
        with suppress(TimeoutError):
            async with asyncio.timeout(_PIPES_END_S):
                await asyncio.shield(self._ears.closed)
        self._transport.close()

    def _signal(self, number: signal.Signals) -> None:
        if self._transport.get_returncode() is None:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, number)


async def spawn(argv: Sequence[str], environment: Mapping[str, str], on_line: OnLine) -> Child:
    """Start a program; Misconfigured when there is no such program or it may not be run."""
    try:
        transport, ears = await asyncio.get_running_loop().subprocess_exec(
            lambda: _Ears(on_line),
            *argv,
            env=dict(environment),
            stdin=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError as error:
        raise Misconfigured(what=f"{argv[0]} cannot be started ({error.strerror})") from error
    return Child(transport, ears, environment[MARK], environment[NODE])


def _start_time(pid: int) -> float:
    try:
        return psutil.Process(pid).create_time()
    except psutil.Error:  # it has ended already
        return time.time()


def _sweep(run_id: str, node: str, leaders: Mapping[int, float]) -> None:
    orphans.kill(orphans.find(run_id, node, leaders))
