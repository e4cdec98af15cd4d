"""Runs the graph: does what `plan` says, tells it what happened, and writes down how things are.

The thin shell around `plan` (what to do), `tend` (one node's life) and `state` (what others may
read). It knows no service by name and draws nothing; a `View` does.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Protocol

from barnabee.clients.loki import base_url
from barnabee.clients.loki_push import Shipper, Tell
from barnabee.core.errors import BarnabeeError, Misconfigured
from barnabee.up import node_commands, orphans, plan, run_state
from barnabee.up.logfile import LogFile, Record, utc_now, wrap
from barnabee.up.node_commands import COMMANDS, CommandFor, House
from barnabee.up.node_supervisor import Ended, Tender
from barnabee.up.paths import Paths
from barnabee.up.plan import Phase, Seen
from barnabee.up.probe import Look, Prober

_SAMPLE_EVERY_S = 2.0
_MIB = 1024 * 1024
_NAME = "runner"


class View(Protocol):
    """Who shows the run to somebody."""

    def line(self, record: Record) -> None:
        """Show one log line."""

    def changed(self, run: run_state.RunState) -> None:
        """Show how the nodes are now."""

    def failed(self, name: str, reason: str, last_lines: Sequence[str]) -> None:
        """Show that a node failed, and what it said last."""

    def healthy(self, run: run_state.RunState) -> None:
        """Show that everything is well for the first time."""


class Runner:
    """One run of the house."""

    def __init__(
        self, house: House, view: View, *, commands: Mapping[str, CommandFor] = COMMANDS
    ) -> None:
        """Prepare to run `house`; `commands` says how its nodes are started."""
        self._house = house
        self._view = view
        self._commands = commands
        self._graph = house.graph()
        self._seen = {name: Seen() for name in self._graph.nodes}
        self._looks: dict[str, Look] = {}
        self._tenders: dict[str, Tender] = {}
        self._untold: set[str] = set()  # failed, and not yet shown
        self._prober = Prober()
        self._log = LogFile(house.paths.log)
        self._shipper = _shipper(house, self._tell)
        self._wake = asyncio.Event()
        self._stop_since_s: float | None = None
        self._began_s = time.monotonic()
        self._run = _first_state(house, self._graph)

    async def run(self) -> None:
        """Run until asked to stop; when this returns or raises, no process is left."""
        self._began_s = time.monotonic()
        self._hear_signals()
        self._loop = asyncio.get_running_loop()
        if self._shipper is not None:
            self._shipper.start()
        try:
            async with asyncio.TaskGroup() as tasks:
                sampler = tasks.create_task(self._hold_memory())
                await self._steer(tasks)
                sampler.cancel()
        finally:
            await asyncio.to_thread(_sweep, self._house.paths)
            await self._prober.aclose()
            self._say("stopped")
            if self._shipper is not None:
                await asyncio.to_thread(self._shipper.stop)
            self._log.close()
            self._house.paths.state.unlink(missing_ok=True)

    def stop(self) -> None:
        """Stop everything, in order; asked a second time: at once."""
        now_s = time.monotonic()
        again = self._stop_since_s is not None
        self._stop_since_s = now_s - plan.STOP_LIMIT_S if again else now_s
        self._run.phase = "stopping"
        self._wake.set()

    async def _steer(self, tasks: asyncio.TaskGroup) -> None:
        while self._stop_since_s is None or self._living():
            self._wake.clear()
            actions = plan.decide(self._graph, self._seen, time.monotonic(), self._stop_since_s)
            self._tell_failures(actions)
            for action in actions:
                self._do(action, tasks)
            self._publish()
            times_s = [one.at_s for one in actions if isinstance(one, plan.Restart)]
            if self._stop_since_s is not None:
                limit_s = self._stop_since_s + plan.STOP_LIMIT_S
                times_s = [limit_s] if time.monotonic() < limit_s else []
            await self._sleep_until(min(times_s, default=None))

    async def _sleep_until(self, at_s: float | None) -> None:
        left_s = None if at_s is None else max(0.02, at_s - time.monotonic())
        with suppress(TimeoutError):
            async with asyncio.timeout(left_s):
                await self._wake.wait()

    def _do(self, action: plan.Action, tasks: asyncio.TaskGroup) -> None:
        name = action.name
        if isinstance(action, plan.Start):
            self._become(name, Phase.STARTING)
            node = self._graph.nodes[name]
            self._tenders[name] = Tender(name, node, self._prober, self._record, self._looked)
            tasks.create_task(self._tend(self._tenders[name]), name=name)
        elif isinstance(action, plan.GiveUp):
            self._become(name, Phase.GIVEN_UP, reason=action.reason)
        elif isinstance(action, plan.Stop):
            self._become(name, Phase.KILLED if action.kill else Phase.STOPPING)
            self._tenders[name].ask(kill=action.kill)

    async def _tend(self, tender: Tender) -> None:
        try:
            command = node_commands.command_for(tender.name, self._house, self._commands)
            environment = node_commands.environment_for(self._house, tender.name)
            ended = await tender.live(command, environment)
        except (BarnabeeError, OSError) as error:
            final = isinstance(error, Misconfigured)
            ended = Ended(str(error), clean=False, asked=False, final=final)
        self._ended(tender.name, ended)
        self._wake.set()

    def _ended(self, name: str, ended: Ended) -> None:
        self._looks.pop(name, None)
        before = self._seen[name]
        if ended.asked:
            self._become(name, Phase.ABSENT)
        elif ended.clean and self._graph.nodes[name].kind == "oneshot":
            self._become(name, Phase.DONE)
        else:
            failures_s = (*before.failures_s, time.monotonic())
            self._become(name, Phase.FAILED, reason=ended.reason)
            self._seen[name] = replace(
                self._seen[name],
                failures_s=failures_s,
                clean=ended.clean,
                final=ended.final,
            )
            self._run.nodes[name].restarts += 1
            self._untold.add(name)

    def _looked(self, name: str, look: Look) -> None:
        before = self._looks.get(name)
        self._looks[name] = look
        if look.ready and self._seen[name].phase == Phase.STARTING:
            self._become(name, Phase.READY)
        if before is None or (before.state, before.message) != (look.state, look.message):
            self._wake.set()

    def _become(self, name: str, phase: Phase, reason: str = "") -> None:
        self._seen[name] = replace(self._seen[name], phase=phase, reason=reason)
        node, now = self._run.nodes[name], time.time()
        if phase in {Phase.READY, Phase.DONE}:
            node.ready_s = round(now - node.since, 2)
        node.phase, node.since, node.reason = phase.value, now, reason
        self._say(phase.value, node=name, **({"reason": reason} if reason else {}))
        self._wake.set()

    def _tell_failures(self, actions: Sequence[plan.Action]) -> None:
        """Show who failed, why, what it said last and what happens next."""
        for name in sorted(self._untold):
            reason = self._seen[name].reason
            for action in actions:
                if action.name == name and isinstance(action, plan.GiveUp):
                    reason = f"{action.reason}; it is not started again"
                elif action.name == name and isinstance(action, plan.Restart):
                    reason += f"; again in {action.at_s - time.monotonic():.1f} s"
            lines = list(self._tenders[name].last_lines)
            self._run.nodes[name].last_lines = lines
            self._view.failed(name, reason, lines)
        self._untold.clear()

    def _publish(self) -> None:
        for name, node in self._run.nodes.items():
            tender, look = self._tenders.get(name), self._looks.get(name)
            running = self._seen[name].phase in plan.RUNNING
            node.pid = tender.pid if tender is not None and running else None
            node.started = tender.started if tender is not None and running else None
            node.state = _state_word(self._seen[name].phase, look)
            node.blocked_by = plan.waits_for(name, self._graph, self._seen)
        if self._run.healthy_s is None and self._well() and self._stop_since_s is None:
            self._run.healthy_s = round(time.monotonic() - self._began_s, 2)
            self._run.healthy_at = time.time()
            self._run.phase = "running"
            self._say("all healthy", seconds=self._run.healthy_s)
            self._view.healthy(self._run)
        self._view.changed(self._run)
        with suppress(OSError):  # a full disk must not stop the house
            run_state.write(self._house.paths, self._run)

    def _well(self) -> bool:
        return all(
            self._seen[name].phase == Phase.DONE or (name in self._looks and self._looks[name].good)
            for name in self._graph.nodes
        )

    def _living(self) -> bool:
        return any(seen.phase in plan.RUNNING for seen in self._seen.values())

    async def _hold_memory(self) -> None:
        while True:
            await asyncio.sleep(_SAMPLE_EVERY_S)
            tenders = {
                one.pid: one
                for name, one in self._tenders.items()
                if one.pid is not None and self._seen[name].phase in plan.RUNNING
            }
            used = await asyncio.to_thread(orphans.memory_mib, list(tenders))
            for pid, mib in used.items():
                limit_mib = tenders[pid].node.memory_max_mib
                if mib > limit_mib:
                    reason = f"memory: {mib:.0f} MiB is above its limit of {limit_mib} MiB"
                    tenders[pid].condemn(reason)

    def _hear_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self.stop)

    def _say(self, event: str, **fields: object) -> None:
        self._record(wrap(_NAME, "", utc_now()) | {"event": event} | fields)

    def _tell(self, event: str, fields: Mapping[str, object]) -> None:
        """Say something in the log, from another thread."""
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(lambda: self._say(event, **fields))

    def _record(self, record: Record) -> None:
        self._log.write(record)
        if self._shipper is not None:
            self._shipper.offer(record)
        self._view.line(record)


def _shipper(house: House, tell: Tell) -> Shipper | None:
    url = house.environment.get("LOKI_URL")
    kept_bytes = house.system.logs.unsent_max_mib * _MIB
    return Shipper(base_url(url), socket.gethostname(), kept_bytes, tell) if url else None


def _first_state(house: House, graph: plan.Graph) -> run_state.RunState:
    nodes = {name: run_state.NodeState(port=node.port) for name, node in graph.nodes.items()}
    return run_state.of_this_process(
        str(house.system_file),
        demo_home=house.demo_home is not None,
        asked_at=house.asked_at,
        nodes=nodes,
    )


def _state_word(phase: Phase, look: Look | None) -> str:
    if phase == Phase.DONE:
        return "healthy"
    if look is None:
        return "unhealthy" if phase in {Phase.FAILED, Phase.GIVEN_UP} else "unknown"
    return look.state.value


def _sweep(paths: Paths) -> None:
    orphans.kill(run_state.left(paths))
