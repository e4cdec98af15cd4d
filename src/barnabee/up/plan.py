"""Start, restart and stop decisions of the runner. Pure.

From the graph, the status of each node and the time follow the actions. `runner` calls
`decide_actions` when a status has changed and when the time of a restart has come.

A node starts as soon as everything it needs is ready. A failed node restarts after a delay that
doubles with each failure within its interval, up to `DELAY_MAX_S`; after `start_limit_burst`
failures it is given up. A node is stopped when none of its dependents runs any more; after
`STOP_LIMIT_S` all remaining nodes are killed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from barnabee.core.backoff import backoff_s
from barnabee.core.schema import ServiceConfig

DELAY_MAX_S = 10.0  # a service must be ready again within 15 s of its failure
STOP_LIMIT_S = 8.0  # a stop must be complete within 10 s, including SIGKILL


class Phase(StrEnum):
    """The life cycle of a node."""

    ABSENT = "absent"
    STARTING = "starting"
    READY = "ready"
    DONE = "done"
    FAILED = "failed"
    GIVEN_UP = "given up"
    STOPPING = "stopping"
    KILLED = "killed"


RUNNING = frozenset({Phase.STARTING, Phase.READY, Phase.STOPPING, Phase.KILLED})
USABLE = frozenset({Phase.READY, Phase.DONE})
SETTLED = USABLE | {Phase.GIVEN_UP}


@dataclass(frozen=True)
class NodeStatus:
    """What the runner knows of one node; `failures_s` are the times of its failures."""

    phase: Phase = Phase.ABSENT
    failures_s: tuple[float, ...] = ()
    reason: str = ""
    is_clean: bool = False  # it ended without being stopped, with exit status 0
    is_final: bool = False  # its exit status says that a restart cannot help


@dataclass(frozen=True)
class NodeGraph:
    """The nodes to run.

    `after` orders without requiring: a node waits until those are ready or have failed for good.
    """

    nodes: Mapping[str, ServiceConfig]
    companions: frozenset[str] = frozenset()
    after: Mapping[str, frozenset[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class StartNode:
    """Start the node now."""

    name: str


@dataclass(frozen=True)
class RestartNode:
    """Start the failed node at `at_s`, if what it needs is ready then."""

    name: str
    at_s: float


@dataclass(frozen=True)
class GiveUpNode:
    """Do not start the node again."""

    name: str
    reason: str


@dataclass(frozen=True)
class StopNode:
    """Stop the node: with SIGTERM, or with SIGKILL if `kill`."""

    name: str
    kill: bool = False


Action = StartNode | RestartNode | GiveUpNode | StopNode


def decide_actions(
    graph: NodeGraph,
    statuses: Mapping[str, NodeStatus],
    now_s: float,
    stop_since_s: float | None = None,
) -> list[Action]:
    """Return the actions that are due; `stop_since_s` is when stopping began."""
    if stop_since_s is not None:
        return list(_stops(graph, statuses, kill=now_s - stop_since_s >= STOP_LIMIT_S))
    actions = (_next(name, graph, statuses, now_s) for name in graph.nodes)
    return [action for action in actions if action is not None]


def find_unmet_needs(name: str, graph: NodeGraph, statuses: Mapping[str, NodeStatus]) -> list[str]:
    """Return the nodes for which `name` has to wait."""
    needs = [other for other in graph.nodes[name].needs if other in graph.nodes]
    missing = [other for other in needs if statuses[other].phase not in USABLE]
    after = sorted(graph.after.get(name, frozenset()))
    return missing + [other for other in after if not _settled(other, graph, statuses)]


def find_failed_dependency(
    name: str, graph: NodeGraph, statuses: Mapping[str, NodeStatus]
) -> str | None:
    """Return the given-up node, direct or indirect, without which `name` cannot start, or None."""
    for other in graph.nodes[name].needs:
        if other not in graph.nodes:
            continue
        if statuses[other].phase == Phase.GIVEN_UP:
            return other
        if statuses[other].phase == Phase.ABSENT:
            indirect = find_failed_dependency(other, graph, statuses)
            if indirect is not None:
                return indirect
    return None


def _settled(name: str, graph: NodeGraph, statuses: Mapping[str, NodeStatus]) -> bool:
    return (
        statuses[name].phase in SETTLED or find_failed_dependency(name, graph, statuses) is not None
    )


def restart_delay_s(node: ServiceConfig, failures_s: tuple[float, ...]) -> float:
    """Return the back-off after the last of the failures."""
    first_s = node.restart_delay_ms / 1000
    return backoff_s(len(_recent_failures(node, failures_s)), first_s, DELAY_MAX_S)


def _next(
    name: str, graph: NodeGraph, statuses: Mapping[str, NodeStatus], now_s: float
) -> Action | None:
    status, node = statuses[name], graph.nodes[name]
    if status.phase == Phase.FAILED:
        reason = _reason_to_give_up(node, status)
        if reason:
            return GiveUpNode(name, reason)
        at_s = status.failures_s[-1] + restart_delay_s(node, status.failures_s)
        if now_s < at_s:
            return RestartNode(name, at_s)
    elif status.phase != Phase.ABSENT:
        return None
    return None if find_unmet_needs(name, graph, statuses) else StartNode(name)


def _reason_to_give_up(node: ServiceConfig, status: NodeStatus) -> str | None:
    if status.is_final:
        return status.reason
    if node.restart == "never":
        return f"{status.reason}; its restart policy is `never`"
    if status.is_clean and node.restart == "on-failure":
        return "it ended without an error"
    count = len(_recent_failures(node, status.failures_s))
    if count >= node.start_limit_burst:
        return f"{status.reason}; that was failure {count} within {node.start_limit_interval_s} s"
    return None


def _recent_failures(node: ServiceConfig, failures_s: tuple[float, ...]) -> list[float]:
    return [at_s for at_s in failures_s if failures_s[-1] - at_s < node.start_limit_interval_s]


def _stops(
    graph: NodeGraph, statuses: Mapping[str, NodeStatus], *, kill: bool
) -> Iterator[StopNode]:
    running = {name for name in graph.nodes if statuses[name].phase in RUNNING}
    dependents = _find_dependents(graph)
    for name in graph.nodes:
        if name not in running:
            continue
        if kill:
            if statuses[name].phase != Phase.KILLED:
                yield StopNode(name, kill=True)
        elif (
            statuses[name].phase in {Phase.STARTING, Phase.READY} and not dependents[name] & running
        ):
            yield StopNode(name)


def _find_dependents(graph: NodeGraph) -> dict[str, set[str]]:
    """Return for each node those that must end before it stops; free of cycles.

    By `needs` first, then services before companions (which replace external services), then by
    `wants` where that adds no cycle.
    """
    depends_on: dict[str, set[str]] = {name: set() for name in graph.nodes}
    services = [name for name in graph.nodes if name not in graph.companions]
    edges = [(name, need) for name, node in graph.nodes.items() for need in node.needs]
    edges += [(name, first) for name in graph.after for first in sorted(graph.after[name])]
    edges += [(name, companion) for name in services for companion in sorted(graph.companions)]
    edges += [(name, want) for name, node in graph.nodes.items() for want in node.wants]
    for name, other in edges:
        is_known = name in depends_on and other in depends_on
        if is_known and not _is_reachable(other, name, depends_on):
            depends_on[name].add(other)
    return {
        name: {other for other in depends_on if name in depends_on[other]} for name in depends_on
    }


def _is_reachable(start: str, goal: str, edges: Mapping[str, set[str]]) -> bool:
    stack, visited = [start], set[str]()
    while stack:
        name = stack.pop()
        if name == goal:
            return True
        if name not in visited:
            visited.add(name)
            stack.extend(edges[name])
    return False
