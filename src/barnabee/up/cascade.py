"""The health cascade: one concurrent probe of every node, for `health`, `accept` and Compose."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from barnabee.core import system
from barnabee.core.errors import BadRequest, NotFound
from barnabee.core.health import HealthState
from barnabee.core.schema import ServiceConfig
from barnabee.core.settings import read_credential
from barnabee.core.tokens import Scope
from barnabee.up import plan
from barnabee.up.paths import local_paths
from barnabee.up.plan import Phase
from barnabee.up.probe import HEALTHY, NodeProber, NodeProbeResult, make_silent_result
from barnabee.up.run_state import NodeState, RunState
from barnabee.up.secrets import read_metrics_token


@dataclass(frozen=True)
class NodeHealth:
    """One node's probe, and what the runner knows of it."""

    result: NodeProbeResult
    phase: str
    reason: str = ""  # why it is not healthy
    last_lines: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class CascadeReport:
    """The health of every node of a run."""

    nodes: Mapping[str, NodeHealth]
    healthy_s: float | None = None  # how long the start took
    problem: str = ""  # of the runner

    @property
    def is_ok(self) -> bool:
        """Whether every node is healthy or only lacks dependencies that are not configured."""
        nodes = self.nodes.values()
        return bool(nodes) and not self.problem and all(node.result.is_ok for node in nodes)

    @property
    def is_ready(self) -> bool:
        """Whether every node is healthy or degraded."""
        nodes = self.nodes.values()
        return bool(nodes) and not self.problem and all(node.result.is_ready for node in nodes)

    @property
    def is_stuck(self) -> bool:
        """Whether a node backs off or was given up, so that waiting does not help."""
        return any(node.phase in plan.STUCK for node in self.nodes.values())

    def as_dict(self) -> dict[str, object]:
        """Return the JSON form."""
        nodes = {
            name: {
                "status": node.result.state.value,
                "good": node.result.is_ok,
                "phase": node.phase,
                "message": node.reason or None,
                "dependencies": node.result.dependencies,
            }
            for name, node in self.nodes.items()
        }
        return {
            "good": self.is_ok,
            "healthy_s": self.healthy_s,
            "problem": self.problem or None,
            "services": nodes,
        }


async def probe_run(run: RunState) -> CascadeReport:
    """Probe every node of `run`."""
    configs = system.load_system(Path(run.system_file)).nodes()
    prober = NodeProber(read_token=partial(read_metrics_token, local_paths()))
    try:
        results = await asyncio.gather(
            *(_probe_node(prober, configs[name], node) for name, node in run.nodes.items())
        )
    finally:
        await prober.aclose()
    nodes = {
        name: NodeHealth(result, node.phase, _explain(result, node), node.last_lines)
        for (name, node), result in zip(run.nodes.items(), results, strict=True)
    }
    return CascadeReport(nodes, run.healthy_s, run.describe_staleness())


async def probe_hosts(hosts: Mapping[str, str]) -> CascadeReport:
    """Probe services that no runner manages; `hosts` is host by service name.

    NotFound when system.toml has no such service, BadRequest when it is a oneshot.
    """
    configs = system.get_system().nodes()
    for name in hosts:
        if name not in configs:
            raise NotFound(what=f"service {name!r}; known are {', '.join(sorted(configs))}")
        if configs[name].probe == "exit":
            raise BadRequest(field="--at", reason=f"{name} runs once and cannot be probed")
    results = await asyncio.gather(
        *(_probe_host(configs[name], host) for name, host in hosts.items())
    )
    return CascadeReport(
        {
            name: NodeHealth(
                result, Phase.READY if result.is_ready else Phase.STARTING, result.message
            )
            for name, result in zip(hosts, results, strict=True)
        }
    )


async def _probe_host(node: ServiceConfig, host: str) -> NodeProbeResult:
    prober = NodeProber(host, partial(read_credential, Scope.METRICS.credential))
    try:
        return await prober.probe(node)
    finally:
        await prober.aclose()


async def _probe_node(
    prober: NodeProber, config: ServiceConfig, node: NodeState
) -> NodeProbeResult:
    if config.probe == "exit":
        return _judge_oneshot(node)
    if node.phase in {Phase.ABSENT} | plan.WAITING | plan.STUCK:
        return make_silent_result("")
    return await prober.probe(config)


def _judge_oneshot(node: NodeState) -> NodeProbeResult:
    if node.phase == Phase.DONE:
        return HEALTHY
    state = (
        HealthState.UNKNOWN
        if node.phase in {Phase.ABSENT, Phase.STARTING, "unknown"}
        else HealthState.UNHEALTHY
    )
    return NodeProbeResult(is_responding=False, state=state)


def _explain(result: NodeProbeResult, node: NodeState) -> str:
    if result.is_ok:
        return ""
    if node.reason:
        return node.reason
    if node.phase == Phase.ABSENT and node.blocked_by:
        return f"waits for {', '.join(node.blocked_by)}"
    return result.message or node.phase
