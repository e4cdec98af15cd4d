"""The runner: starts, watches and stops the nodes of the graph as `plan` decides.

Publishes the state of the run (`run_state`), writes the log and informs a `RunView`. Knows no
service by name.
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

from barnabee.clients.loki import parse_base_url
from barnabee.clients.loki_push import EventCallback, LogShipper
from barnabee.core.errors import BarnabeeError, Misconfigured
from barnabee.up import orphans, plan, run_state
from barnabee.up.deployment import CommandFactory, LocalDeployment, make_node_environment
from barnabee.up.logfile import LogFile, Record, make_record, utc_now
from barnabee.up.node_commands import COMMANDS, make_command
from barnabee.up.node_supervisor import NodeExit, NodeSupervisor
from barnabee.up.paths import Paths
from barnabee.up.plan import NodeStatus, Phase
from barnabee.up.probe import NodeProber, NodeProbeResult

_SAMPLE_EVERY_S = 2.0
_MIB = 1024 * 1024
_NAME = "runner"


class RunView(Protocol):
    """Output of a run, such as a terminal."""

    def show_record(self, record: Record) -> None: ...

    def show_nodes(self, run: run_state.RunState) -> None:
        """Show the current state of the nodes."""

    def show_failure(self, name: str, reason: str, last_lines: Sequence[str]) -> None:
        """Show that a node failed, with its last log lines."""

    def show_healthy(self, run: run_state.RunState) -> None:
        """Show that all nodes are healthy; called once per run."""


class Runner:
    """One run of a deployment."""

    def __init__(
        self,
        deployment: LocalDeployment,
        view: RunView,
        *,
        commands: Mapping[str, CommandFactory] = COMMANDS,
    ) -> None:
        self._deployment = deployment
        self._view = view
        self._commands = commands
        self._graph = deployment.make_graph()
        self._statuses = {name: NodeStatus() for name in self._graph.nodes}
        self._results: dict[str, NodeProbeResult] = {}
        self._supervisors: dict[str, NodeSupervisor] = {}
        self._new_failures: set[str] = set()  # not yet shown
        self._prober = NodeProber()
        self._log = LogFile(deployment.paths.log)
        self._shipper = _make_shipper(deployment, self._log_from_thread)
        self._wake = asyncio.Event()
        self._stop_since_s: float | None = None
        self._began_s = time.monotonic()
        self._run = _make_first_state(deployment, self._graph)

    async def run(self) -> None:
        """Run until a stop is requested; no process is left when this returns or raises."""
        self._began_s = time.monotonic()
        self._install_signal_handlers()
        self._loop = asyncio.get_running_loop()
        if self._shipper is not None:
            self._shipper.start()
        try:
            async with asyncio.TaskGroup() as tasks:
                memory_watch = tasks.create_task(self._enforce_memory_limits())
                await self._reconcile(tasks)
                memory_watch.cancel()
        finally:
            await asyncio.to_thread(_kill_all, self._deployment.paths)
            await self._prober.aclose()
            self._log_event("stopped")
            if self._shipper is not None:
                await asyncio.to_thread(self._shipper.stop)
            self._log.close()
            self._deployment.paths.state.unlink(missing_ok=True)

    def stop(self) -> None:
        """Stop all nodes in order; a second call kills them at once."""
        now_s = time.monotonic()
        is_second_call = self._stop_since_s is not None
        self._stop_since_s = now_s - plan.STOP_LIMIT_S if is_second_call else now_s
        self._run.phase = "stopping"
        self._wake.set()

    async def _reconcile(self, tasks: asyncio.TaskGroup) -> None:
        while self._stop_since_s is None or self._has_running_nodes():
            self._wake.clear()
            actions = plan.decide_actions(
                self._graph, self._statuses, time.monotonic(), self._stop_since_s
            )
            self._show_failures(actions)
            for action in actions:
                self._execute(action, tasks)
            self._publish()
            times_s = [action.at_s for action in actions if isinstance(action, plan.RestartNode)]
            if self._stop_since_s is not None:
                limit_s = self._stop_since_s + plan.STOP_LIMIT_S
                times_s = [limit_s] if time.monotonic() < limit_s else []
            await self._sleep_until(min(times_s, default=None))

    async def _sleep_until(self, at_s: float | None) -> None:
        timeout_s = None if at_s is None else max(0.02, at_s - time.monotonic())
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._wake.wait()

    def _execute(self, action: plan.Action, tasks: asyncio.TaskGroup) -> None:
        name = action.name
        if isinstance(action, plan.StartNode):
            self._set_phase(name, Phase.STARTING)
            node = self._graph.nodes[name]
            supervisor = NodeSupervisor(
                name, node, self._prober, self._write_record, self._handle_probe
            )
            self._supervisors[name] = supervisor
            tasks.create_task(self._supervise(supervisor), name=name)
        elif isinstance(action, plan.GiveUpNode):
            self._set_phase(name, Phase.GIVEN_UP, reason=action.reason)
        elif isinstance(action, plan.StopNode):
            self._set_phase(name, Phase.KILLED if action.kill else Phase.STOPPING)
            self._supervisors[name].stop(kill=action.kill)

    async def _supervise(self, supervisor: NodeSupervisor) -> None:
        name = supervisor.name
        try:
            command = make_command(name, self._deployment, self._commands)
            environment = make_node_environment(self._deployment, name)
            ended = await supervisor.run(command, environment)
        except (BarnabeeError, OSError) as error:
            is_final = isinstance(error, Misconfigured)
            ended = NodeExit(str(error), is_clean=False, is_requested=False, is_final=is_final)
        self._handle_exit(name, ended)
        self._wake.set()

    def _handle_exit(self, name: str, ended: NodeExit) -> None:
        self._results.pop(name, None)
        before = self._statuses[name]
        if ended.is_requested:
            self._set_phase(name, Phase.ABSENT)
        elif ended.is_clean and self._graph.nodes[name].kind == "oneshot":
            self._set_phase(name, Phase.DONE)
        else:
            failures_s = (*before.failures_s, time.monotonic())
            self._set_phase(name, Phase.FAILED, reason=ended.reason)
            self._statuses[name] = replace(
                self._statuses[name],
                failures_s=failures_s,
                is_clean=ended.is_clean,
                is_final=ended.is_final,
            )
            self._run.nodes[name].restarts += 1
            self._new_failures.add(name)

    def _handle_probe(self, name: str, result: NodeProbeResult) -> None:
        before = self._results.get(name)
        self._results[name] = result
        if result.is_ready and self._statuses[name].phase == Phase.STARTING:
            self._set_phase(name, Phase.READY)
        if before is None or (before.state, before.message) != (result.state, result.message):
            self._wake.set()

    def _set_phase(self, name: str, phase: Phase, reason: str = "") -> None:
        self._statuses[name] = replace(self._statuses[name], phase=phase, reason=reason)
        node, now = self._run.nodes[name], time.time()
        if phase in {Phase.READY, Phase.DONE}:
            node.ready_s = round(now - node.since, 2)
        node.phase, node.since, node.reason = phase.value, now, reason
        self._log_event(phase.value, node=name, **({"reason": reason} if reason else {}))
        self._wake.set()

    def _show_failures(self, actions: Sequence[plan.Action]) -> None:
        """Show each new failure with its reason, its last log lines and what follows."""
        for name in sorted(self._new_failures):
            reason = self._statuses[name].reason
            for action in actions:
                if action.name == name and isinstance(action, plan.GiveUpNode):
                    reason = f"{action.reason}; it is not started again"
                elif action.name == name and isinstance(action, plan.RestartNode):
                    reason += f"; again in {action.at_s - time.monotonic():.1f} s"
            lines = list(self._supervisors[name].last_lines)
            self._run.nodes[name].last_lines = lines
            self._view.show_failure(name, reason, lines)
        self._new_failures.clear()

    def _publish(self) -> None:
        for name, node in self._run.nodes.items():
            supervisor, result = self._supervisors.get(name), self._results.get(name)
            is_running = self._statuses[name].phase in plan.RUNNING
            node.pid = supervisor.pid if supervisor is not None and is_running else None
            node.started = supervisor.started if supervisor is not None and is_running else None
            node.state = _state_name(self._statuses[name].phase, result)
            node.blocked_by = plan.find_unmet_needs(name, self._graph, self._statuses)
        if self._run.healthy_s is None and self._is_healthy() and self._stop_since_s is None:
            self._run.healthy_s = round(time.monotonic() - self._began_s, 2)
            self._run.healthy_at = time.time()
            self._run.phase = "running"
            self._log_event("all healthy", seconds=self._run.healthy_s)
            self._view.show_healthy(self._run)
        self._view.show_nodes(self._run)
        with suppress(OSError):  # a full disk must not stop the run
            run_state.write_state(self._deployment.paths, self._run)

    def _is_healthy(self) -> bool:
        return all(
            self._statuses[name].phase == Phase.DONE
            or (name in self._results and self._results[name].is_ok)
            for name in self._graph.nodes
        )

    def _has_running_nodes(self) -> bool:
        return any(status.phase in plan.RUNNING for status in self._statuses.values())

    async def _enforce_memory_limits(self) -> None:
        while True:
            await asyncio.sleep(_SAMPLE_EVERY_S)
            supervisors = {
                supervisor.pid: supervisor
                for name, supervisor in self._supervisors.items()
                if supervisor.pid is not None and self._statuses[name].phase in plan.RUNNING
            }
            used_mib = await asyncio.to_thread(orphans.measure_memory_mib, list(supervisors))
            for pid, mib in used_mib.items():
                limit_mib = supervisors[pid].node.memory_max_mib
                if mib > limit_mib:
                    reason = f"memory: {mib:.0f} MiB is above its limit of {limit_mib} MiB"
                    supervisors[pid].fail(reason)

    def _install_signal_handlers(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self.stop)

    def _log_event(self, event: str, **fields: object) -> None:
        self._write_record(make_record(_NAME, "", utc_now()) | {"event": event} | fields)

    def _log_from_thread(self, event: str, fields: Mapping[str, object]) -> None:
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(lambda: self._log_event(event, **fields))

    def _write_record(self, record: Record) -> None:
        self._log.write(record)
        if self._shipper is not None:
            self._shipper.offer(record)
        self._view.show_record(record)


def _make_shipper(deployment: LocalDeployment, on_event: EventCallback) -> LogShipper | None:
    url = deployment.environment.get("LOKI_URL")
    buffer_bytes = deployment.system.logs.loki_buffer_max_mib * _MIB
    if not url:
        return None
    return LogShipper(parse_base_url(url), socket.gethostname(), buffer_bytes, on_event)


def _make_first_state(deployment: LocalDeployment, graph: plan.NodeGraph) -> run_state.RunState:
    nodes = {name: run_state.NodeState(port=node.port) for name, node in graph.nodes.items()}
    return run_state.make_run_state(
        str(deployment.system_file),
        demo_home=deployment.demo_home is not None,
        asked_at=deployment.requested_at,
        nodes=nodes,
    )


def _state_name(phase: Phase, result: NodeProbeResult | None) -> str:
    if phase == Phase.DONE:
        return "healthy"
    if result is None:
        return "unhealthy" if phase in {Phase.FAILED, Phase.GIVEN_UP} else "unknown"
    return result.state.value


def _kill_all(paths: Paths) -> None:
    orphans.kill_processes(run_state.find_orphans(paths))
