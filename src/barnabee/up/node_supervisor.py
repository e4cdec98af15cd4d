"""Supervision of one node: its process, its readiness and its watchdog.

A node runs in a session of its own. The supervisor reports how it ended; `plan` decides whether it
restarts.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from barnabee.core.errors import Misconfigured
from barnabee.core.health import HealthState
from barnabee.core.schema import ServiceConfig
from barnabee.up import logfile, orphans
from barnabee.up.deployment import NodeCommand
from barnabee.up.logfile import LineSplitter
from barnabee.up.orphans import NODE_VARIABLE, RUN_ID_VARIABLE
from barnabee.up.probe import NOT_PROBED, NodeProber, NodeProbeResult

MAX_LAST_LINES = 15
_STARTUP_PROBE_EVERY_S = 0.1
_PROBE_EVERY_S = 1.5
_PIPES_CLOSE_S = 1.0

OnLine = Callable[[str], None]


@dataclass(frozen=True)
class NodeExit:
    """How a node ended; `reason` is one clause without a full stop."""

    reason: str
    is_clean: bool  # without being stopped, with exit status 0
    is_requested: bool  # the runner stopped it
    is_final: bool  # its exit status says that only a changed configuration can help


class NodeSupervisor:
    """Runs one start of one node.

    `on_record` gets every log record of the node, `on_probe` the result of every probe.
    """

    def __init__(
        self,
        name: str,
        node: ServiceConfig,
        prober: NodeProber,
        on_record: Callable[[logfile.Record], None],
        on_probe: Callable[[str, NodeProbeResult], None],
    ) -> None:
        self.name = name
        self.node = node
        self.pid: int | None = None
        self.started: float | None = None
        self.last_lines: deque[str] = deque(maxlen=MAX_LAST_LINES)
        self._prober = prober
        self._on_record = on_record
        self._on_probe = on_probe
        self._stop_reason: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._child: ChildProcess | None = None
        self._is_stop_requested = False

    async def run(self, command: NodeCommand, environment: dict[str, str]) -> NodeExit:
        """Start the node and return when it has ended with all its processes."""
        child = await spawn_child(
            command.argv, environment | dict(command.environment), self._handle_line
        )
        self._child, self.pid, self.started = child, child.pid, child.started
        self._on_probe(self.name, NOT_PROBED)  # publishes the pid
        exited = asyncio.create_task(child.wait())
        watching = asyncio.create_task(self._watch(command.creates_file))
        try:
            waiting: set[asyncio.Future[Any]] = {exited, watching, self._stop_reason}
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            ended = await self._end(command, child, exited, watching)
        finally:
            child.kill()
            for task in (exited, watching):
                task.cancel()
            await asyncio.gather(exited, watching, return_exceptions=True)
            await child.clean_up()
        return ended

    def fail(self, reason: str) -> None:
        """Kill the node because of `reason`; it counts as a failure."""
        if not self._stop_reason.done():
            self._stop_reason.set_result(reason)
        if self._child is not None:
            self._child.kill()

    def stop(self, *, kill: bool = False) -> None:
        """Stop the node because the run stops, or to restart it."""
        self._is_stop_requested = True
        if not self._stop_reason.done():
            self._stop_reason.set_result("stopped")
        if kill and self._child is not None:
            self._child.kill()

    async def _end(
        self,
        command: NodeCommand,
        child: ChildProcess,
        exited: asyncio.Task[int],
        watching: asyncio.Task[str],
    ) -> NodeExit:
        is_requested = self._is_stop_requested
        if exited.done() and not self._stop_reason.done():
            status = exited.result()
            is_final = status in command.final_statuses
            return NodeExit(describe_exit(status), status == 0, is_requested, is_final)
        is_stopped = self._stop_reason.done()
        reason = self._stop_reason.result() if is_stopped else watching.result()
        watching.cancel()  # while it stops it need not answer
        await child.stop(self.node.stop_timeout_s)
        return NodeExit(reason, is_clean=False, is_requested=is_requested, is_final=False)

    async def _watch(self, creates_file: Path | None) -> str:
        """Return why the node must be ended; does not return while it is healthy."""
        budget_s = self.node.startup_budget_s
        if self.node.probe == "exit":
            await asyncio.sleep(budget_s)
            return f"not done within its start-up budget of {budget_s} s"
        try:
            async with asyncio.timeout(budget_s):
                while not (await self._probe(creates_file)).is_ready:  # noqa: ASYNC110 - no event
                    await asyncio.sleep(_STARTUP_PROBE_EVERY_S)
        except TimeoutError:
            return f"not ready within its start-up budget of {budget_s} s"
        reason = await self._watch_liveness()
        if self._child is not None:
            self._child.kill()  # a process that hangs does not handle SIGTERM
        return reason

    async def _watch_liveness(self) -> str:
        """Return why the node counts as hung; does not return while it answers."""
        responded_s = time.monotonic()
        while True:
            result = await self._probe()
            if result.is_responding:
                responded_s = time.monotonic()
            elif result.is_silent and await asyncio.to_thread(orphans.is_hung, self.pid or 0):
                return f"it hangs: {result.message}"
            elif time.monotonic() - responded_s >= self.node.watchdog_s:
                return f"no answer for {self.node.watchdog_s} s"
            await asyncio.sleep(_PROBE_EVERY_S if result.is_ok else _PROBE_EVERY_S / 3)

    async def _probe(self, creates_file: Path | None = None) -> NodeProbeResult:
        result = await self._prober.probe(self.node)
        if result.is_ready and creates_file and not await asyncio.to_thread(creates_file.is_file):
            result = NodeProbeResult(
                is_responding=True,
                state=HealthState.UNHEALTHY,
                message=f"{creates_file.name} does not exist yet",
            )
        self._on_probe(self.name, result)
        return result

    def _handle_line(self, line: str) -> None:
        record = logfile.make_record(self.name, line, logfile.utc_now())
        self.last_lines.append(f"{record['level']}: {format_message(record)}")
        self._on_record(record)


def format_message(record: logfile.Record) -> str:
    """Return a record's event and the last line of its message or error."""
    detail = record.get("message") or record.get("exception") or record.get("error") or ""
    return f"{record['event']} {str(detail).strip().splitlines()[-1] if detail else ''}".strip()


def describe_exit(status: int) -> str:
    """Return an exit status in words; negative for a signal."""
    if status >= 0:
        return f"it ended with exit status {status}"
    with suppress(ValueError):
        return f"it was killed by {signal.Signals(-status).name}"
    return f"it was killed by signal {-status}"


# ---- the process --------------------------------------------------------------------------------


class _ChildProtocol(asyncio.SubprocessProtocol):
    """Receives output, the exit, and the end of the pipes, which grandchildren may hold open."""

    def __init__(self, on_line: OnLine) -> None:
        loop = asyncio.get_running_loop()
        self.exited: asyncio.Future[None] = loop.create_future()
        self.closed: asyncio.Future[None] = loop.create_future()
        self._on_line = on_line
        self._splitters = {1: LineSplitter(), 2: LineSplitter()}

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        for line in self._splitters[fd].feed(data):
            self._on_line(line)

    def pipe_connection_lost(self, fd: int, _exc: Exception | None) -> None:
        for line in self._splitters[fd].flush() if fd in self._splitters else ():
            self._on_line(line)

    def process_exited(self) -> None:
        if not self.exited.done():
            self.exited.set_result(None)

    def connection_lost(self, _exc: Exception | None) -> None:
        if not self.closed.done():
            self.closed.set_result(None)


class ChildProcess:
    """A running program in a session of its own; made by `spawn_child`."""

    def __init__(
        self,
        transport: asyncio.SubprocessTransport,
        protocol: _ChildProtocol,
        run_id: str,
        node: str,
    ) -> None:
        self.pid = transport.get_pid()
        self.started = _read_start_time(self.pid)
        self._transport = transport
        self._protocol = protocol
        self._run_id = run_id
        self._node = node

    async def wait(self) -> int:
        """Return the exit status once the program has ended; negative for a signal."""
        await asyncio.shield(self._protocol.exited)
        return self._transport.get_returncode() or 0

    def kill(self) -> None:
        """Send SIGKILL to the program's process group."""
        self._signal(signal.SIGKILL)

    async def stop(self, grace_s: float) -> int:
        """Send SIGTERM, then SIGKILL after `grace_s`; return the exit status."""
        self._signal(signal.SIGTERM)
        with suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                return await self.wait()
        self.kill()
        return await self.wait()

    async def clean_up(self) -> None:
        """After the exit: kill remaining processes and read the last lines."""
        await asyncio.to_thread(_kill_remaining, self._run_id, self._node, {self.pid: self.started})
        with suppress(TimeoutError):
            async with asyncio.timeout(_PIPES_CLOSE_S):
                await asyncio.shield(self._protocol.closed)
        self._transport.close()

    def _signal(self, number: signal.Signals) -> None:
        if self._transport.get_returncode() is None:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, number)


async def spawn_child(
    argv: Sequence[str], environment: Mapping[str, str], on_line: OnLine
) -> ChildProcess:
    """Start a program; Misconfigured when it does not exist or is not executable."""
    try:
        transport, protocol = await asyncio.get_running_loop().subprocess_exec(
            lambda: _ChildProtocol(on_line),
            *argv,
            env=dict(environment),
            stdin=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError as error:
        raise Misconfigured(what=f"{argv[0]} cannot be started ({error.strerror})") from error
    return ChildProcess(
        transport, protocol, environment[RUN_ID_VARIABLE], environment[NODE_VARIABLE]
    )


def _read_start_time(pid: int) -> float:
    try:
        return psutil.Process(pid).create_time()
    except psutil.Error:  # it has already ended
        return time.time()


def _kill_remaining(run_id: str, node: str, leaders: Mapping[int, float]) -> None:
    orphans.kill_processes(orphans.find_processes(run_id, node, leaders))
