"""One node from its start to its end: waits until it is ready, watches that it answers, ends it.

Decides nothing about restarts; says how the node ended, and `plan` takes it from there.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from barnabee.core.health import State
from barnabee.core.schema import Service
from barnabee.up import logfile
from barnabee.up.node_commands import Command
from barnabee.up.probe import UNASKED, Look, Prober
from barnabee.up.process import Child, spawn

_LOOK_AT_START_S = 0.1
_LOOK_EVERY_S = 1.5
LINES_KEPT = 15


@dataclass(frozen=True)
class Ended:
    """How a node ended; `reason` is one clause without a full stop."""

    reason: str
    clean: bool  # by itself, with exit status 0
    asked: bool  # it was stopped because the house stops
    final: bool  # its status says that starting it again cannot help


class Tender:
    """Looks after one start of one node."""

    def __init__(
        self,
        name: str,
        node: Service,
        prober: Prober,
        on_record: Callable[[logfile.Record], None],
        on_look: Callable[[str, Look], None],
    ) -> None:
        """Remember whom to tell: `on_record` of every log line, `on_look` of every look."""
        self.name = name
        self.node = node
        self.pid: int | None = None
        self.started: float | None = None
        self.last_lines: deque[str] = deque(maxlen=LINES_KEPT)
        self._prober = prober
        self._on_record = on_record
        self._on_look = on_look
        self._verdict: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._child: Child | None = None
        self._asked = False

    async def live(self, command: Command, environment: dict[str, str]) -> Ended:
        """Start the node and stay with it to its end."""
        child = await spawn(command.argv, environment | dict(command.environment), self._line)
        self._child, self.pid, self.started = child, child.pid, child.started
        self._on_look(self.name, UNASKED)  # its pid is worth writing down at once
        exited = asyncio.create_task(child.exited())
        watching = asyncio.create_task(self._watch(command.makes))
        try:
            waiting: set[asyncio.Future[Any]] = {exited, watching, self._verdict}
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            ended = await self._end(command, child, exited, watching)
        finally:
            child.kill()
            for task in (exited, watching):
                task.cancel()
            await asyncio.gather(exited, watching, return_exceptions=True)
            await child.sweep()
        return ended

    def condemn(self, reason: str) -> None:
        """Kill the node because of `reason`; it counts as a failure."""
        if not self._verdict.done():
            self._verdict.set_result(reason)
        if self._child is not None:
            self._child.kill()

    def ask(self, *, kill: bool = False) -> None:
        """Stop the node because the house stops."""
        self._asked = True
        if not self._verdict.done():
            self._verdict.set_result("stopped")
        if kill and self._child is not None:
            self._child.kill()

    async def _end(
        self,
        command: Command,
        child: Child,
        exited: asyncio.Task[int],
        watching: asyncio.Task[str],
    ) -> Ended:
        if exited.done() and not self._verdict.done():
            status = exited.result()
            final = status in command.final_statuses
            return Ended(ending(status), clean=status == 0, asked=self._asked, final=final)
        reason = self._verdict.result() if self._verdict.done() else watching.result()
        await child.stop(self.node.stop_timeout_s)
        return Ended(reason, clean=False, asked=self._asked, final=False)

    async def _watch(self, makes: Path | None) -> str:
        """Return why the node must be ended; for ever if it need not be."""
        if self.node.probe == "exit":
            await asyncio.sleep(self.node.startup_budget_s)
            return f"not done within its start-up budget of {self.node.startup_budget_s} s"
        try:
            async with asyncio.timeout(self.node.startup_budget_s):
                while not (await self._look(makes)).ready:  # noqa: ASYNC110 - nothing to wait on
                    await asyncio.sleep(_LOOK_AT_START_S)
        except TimeoutError:
            return f"not ready within its start-up budget of {self.node.startup_budget_s} s"
        answered_s = time.monotonic()
        while time.monotonic() - answered_s < self.node.watchdog_s:
            look = await self._look()
            answered_s = time.monotonic() if look.answers else answered_s
            await asyncio.sleep(_LOOK_EVERY_S if look.good else _LOOK_EVERY_S / 3)
        return f"no answer for {self.node.watchdog_s} s"

    async def _look(self, makes: Path | None = None) -> Look:
        look = await self._prober.look(self.node)
        if look.ready and makes is not None and not await asyncio.to_thread(makes.is_file):
            look = Look(
                answers=True, state=State.UNHEALTHY, message=f"{makes.name} is not made yet"
            )
        self._on_look(self.name, look)
        return look

    def _line(self, line: str) -> None:
        record = logfile.wrap(self.name, line, logfile.utc_now())
        self.last_lines.append(f"{record['level']}: {said(record)}")
        self._on_record(record)


def said(record: logfile.Record) -> str:
    """Return what a log line says, in one line: the event, and the message or the error in it."""
    detail = record.get("message") or record.get("exception") or record.get("error") or ""
    return f"{record['event']} {str(detail).strip().splitlines()[-1] if detail else ''}".strip()


def ending(status: int) -> str:
    """Return how a process ended in words."""
    if status >= 0:
        return f"it ended with exit status {status}"
    with suppress(ValueError):
        return f"it was killed by {signal.Signals(-status).name}"
    return f"it was killed by signal {-status}"
