"""The runner: starts, watches and stops the nodes of the graph as `plan` decides.

Publishes the state of the run (`run_state`), writes the log and informs a `RunView`. Knows no
service by name.
"""

from __future__ import annotations

import asyncio
import math
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

from barnabee.core.errors import BarnabeeError, Misconfigured
from barnabee.up import orphans, plan, run_state
from barnabee.up.deployment import CommandFactory, LocalDeployment, make_node_environment
from barnabee.up.logfile import RunLog, RunView
from barnabee.up.node_commands import COMMANDS, make_command
from barnabee.up.node_supervisor import NodeExit, NodeSupervisor
from barnabee.up.paths import Paths
from barnabee.up.plan import NodeStatus, Phase
from barnabee.up.probe import NodeProber, NodeProbeResult
from barnabee.up.secrets import read_metrics_token

_SAMPLE_EVERY_S = 2.0
_REQUESTS_EVERY_S = 0.5


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
        self._configurations: dict[str, object] = {}  # that the nodes were started with
        self._is_published = True
        self._prober = NodeProber(read_token=partial(read_metrics_token, deployment.paths))
        self._log = RunLog(deployment, view)
        self._wake = asyncio.Event()
        self._stop_since_s: float | None = None
        self._began_s = time.monotonic()
        self._run = run_state.make_run_state(
            str(deployment.system_file),
            {name: run_state.NodeState(port=node.port) for name, node in self._graph.nodes.items()},
            models=str(deployment.models),
            demo_home=str(deployment.demo_home or ""),
            monitoring=deployment.monitoring,
            llm=deployment.llm,
            asked_at=deployment.requested_at,
        )

    async def run(self) -> None:
        """Run until a stop is requested; no process is left when this returns or raises."""
        self._began_s = time.monotonic()
        self._install_signal_handlers()
        self._log.start()
        run_state.take_restart_requests(self._deployment.paths)  # of an earlier run
        try:
            async with asyncio.TaskGroup() as tasks:
                watches = (self._enforce_memory_limits(), self._watch_requests())
                watching = [tasks.create_task(watch) for watch in watches]
                await self._reconcile(tasks)
                for task in watching:
                    task.cancel()
        finally:
            await asyncio.to_thread(_kill_all, self._deployment.paths)
            await self._prober.aclose()
            self._log.write_event("stopped")
            await self._log.stop()
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
            self._show_failures()
            for action in actions:
                self._execute(action, tasks)
            self._publish()
            times_s = [action.at_s for action in actions if isinstance(action, plan.RestartNode)]
            if self._stop_since_s is not None:
                limit_s = self._stop_since_s + plan.STOP_LIMIT_S
                times_s = [limit_s] if time.monotonic() < limit_s else []
            wait_s = min(times_s, default=math.inf) - time.monotonic()
            with suppress(TimeoutError):
                async with asyncio.timeout(min(max(0.02, wait_s), run_state.WRITE_EVERY_S)):
                    await self._wake.wait()

    def _execute(self, action: plan.Action, tasks: asyncio.TaskGroup) -> None:
        name = action.name
        if isinstance(action, plan.StartNode):
            self._set_phase(name, Phase.STARTING)
            self._configurations[name] = self._read_configuration()
            node = self._graph.nodes[name]
            supervisor = NodeSupervisor(
                name, node, self._prober, self._log.write, self._handle_probe
            )
            self._supervisors[name] = supervisor
            tasks.create_task(self._supervise(supervisor), name=name)
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
        node = self._graph.nodes[name]
        if ended.is_requested:
            self._statuses[name] = NodeStatus()
            self._set_phase(name, Phase.ABSENT)
        elif ended.is_clean and node.kind == "oneshot":
            self._set_phase(name, Phase.DONE)
        else:
            status = plan.record_failure(
                *(node, self._statuses[name], time.monotonic(), ended.reason),
                is_final=ended.is_final,
            )
            self._statuses[name] = status
            reason = plan.explain_failure(status, time.monotonic(), datetime.now(UTC))
            self._set_phase(name, status.phase, reason)
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
        status = replace(self._statuses[name], phase=phase, reason=reason)
        if phase in {Phase.STARTING, Phase.READY}:
            ready_since_s = time.monotonic() if phase == Phase.READY else None
            status = replace(status, ready_since_s=ready_since_s)
        self._statuses[name] = status
        node, now = self._run.nodes[name], time.time()
        if phase in {Phase.READY, Phase.DONE}:
            node.ready_s = round(now - node.since, 2)
        node.phase, node.since, node.reason = phase.value, now, reason
        self._log.write_event(phase.value, node=name, **({"reason": reason} if reason else {}))
        self._wake.set()

    def _show_failures(self) -> None:
        """Show each new failure with its reason, its last log lines and what follows."""
        for name in sorted(self._new_failures):
            status = self._statuses[name]
            reason = status.reason
            if status.phase == Phase.FAILED:
                reason += f"; again in {status.retry_at_s - time.monotonic():.1f} s"
            lines = list(self._supervisors[name].last_lines)
            self._run.nodes[name].last_lines = lines
            self._view.show_failure(name, reason, lines)
        self._new_failures.clear()

    async def _watch_requests(self) -> None:
        """Restart what `barnabee restart` asks for, and what backs off when its settings change."""
        while True:
            await asyncio.sleep(_REQUESTS_EVERY_S)
            for name in run_state.take_restart_requests(self._deployment.paths):
                if name in self._graph.nodes and self._stop_since_s is None:
                    self._restart(name)
            for name, status in self._statuses.items():
                if status.phase != Phase.BACKING_OFF:
                    continue
                if self._configurations[name] != self._read_configuration():
                    self._configurations[name] = self._read_configuration()
                    self._log.write_event("configuration changed", node=name)
                    self._statuses[name] = replace(status, retry_at_s=time.monotonic())
                    self._wake.set()

    def _read_configuration(self) -> object:
        return self._deployment.paths.read_configuration(self._deployment.system_file)

    def _restart(self, name: str) -> None:
        self._log.write_event("restart requested", node=name)
        phase = self._statuses[name].phase
        if phase in {Phase.STARTING, Phase.READY}:
            self._set_phase(name, Phase.STOPPING)
            self._supervisors[name].stop()
        elif phase not in plan.RUNNING:
            self._statuses[name] = NodeStatus()
            self._set_phase(name, Phase.ABSENT)

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
            self._log.write_event("all healthy", seconds=self._run.healthy_s)
            self._view.show_healthy(self._run)
        self._view.show_nodes(self._run)
        try:
            run_state.write_state(self._deployment.paths, self._run)
            self._is_published = True
        except OSError as error:  # a full disk must not stop the run; readers notice the age
            if self._is_published:
                self._log.write_event("state not written", level="error", reason=str(error))
            self._is_published = False

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


def _state_name(phase: Phase, result: NodeProbeResult | None) -> str:
    if phase == Phase.DONE:
        return "healthy"
    if result is None:
        return "unhealthy" if phase in plan.WAITING | plan.STUCK else "unknown"
    return result.state.value


def _kill_all(paths: Paths) -> None:
    orphans.kill_processes(run_state.find_orphans(paths))
