"""Start, restart and stop decisions of the runner. Pure.

From the graph, the status of each node and the time follow the actions. `runner` calls
`decide_actions` when a status has changed and when the time of a restart has come.

A node starts as soon as everything it needs is ready. A failed node restarts after a delay that
doubles with each failure within its interval, up to `DELAY_MAX_S`, until it was ready for
`STABLE_S`. After `start_limit_burst` starts
in a row that did not become ready, or an exit status that only a changed configuration can cure, it
backs off: it is started again after 1, 2 and 5 minutes, then every 5. A node is stopped when none
of its dependents runs any more; after `STOP_LIMIT_S` all remaining nodes are killed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from barnabee.core.rate_limit import backoff_s
from barnabee.core.schema import ServiceConfig

DELAY_MAX_S = 10.0  # a service must be ready again within 15 s of its failure
STABLE_S = 10.0  # a node that was ready for so long restarts as after its first failure
BACK_OFF_DELAYS_S = (60.0, 120.0, 300.0)  # the last one repeats
STOP_LIMIT_S = 8.0  # a stop must be complete within 10 s, including SIGKILL


class Phase(StrEnum):
    """The life cycle of a node."""

    ABSENT = "absent"
    STARTING = "starting"
    READY = "ready"
    DONE = "done"
    FAILED = "failed"
    BACKING_OFF = "backing off"
    GIVEN_UP = "given up"  # only with the restart policy `never`
    STOPPING = "stopping"
    KILLED = "killed"


RUNNING = frozenset({Phase.STARTING, Phase.READY, Phase.STOPPING, Phase.KILLED})
USABLE = frozenset({Phase.READY, Phase.DONE})
STUCK = frozenset({Phase.BACKING_OFF, Phase.GIVEN_UP})
SETTLED = USABLE | STUCK
WAITING = frozenset({Phase.FAILED, Phase.BACKING_OFF})


@dataclass(frozen=True)
class NodeStatus:
    """What the runner knows of one node; `failures_s` are the times of its failures."""

    phase: Phase = Phase.ABSENT
    failures_s: tuple[float, ...] = ()
    reason: str = ""
    ready_since_s: float | None = None  # since its last start
    failed_starts: int = 0  # in a row
    back_offs: int = 0  # in a row
    retry_at_s: float = 0.0  # of a failed node


@dataclass(frozen=True)
class NodeGraph:
    """The nodes to run.

    `after` orders without requiring: a node waits until those are ready or back off.
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
class StopNode:
    """Stop the node: with SIGTERM, or with SIGKILL if `kill`."""

    name: str
    kill: bool = False


Action = StartNode | RestartNode | StopNode


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
    """Return the stuck node, direct or indirect, without which `name` cannot start, or None."""
    for other in graph.nodes[name].needs:
        if other not in graph.nodes:
            continue
        if statuses[other].phase in STUCK:
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


def record_failure(
    node: ServiceConfig, status: NodeStatus, now_s: float, reason: str, *, is_final: bool = False
) -> NodeStatus:
    """Return the status after a failure; `is_final` if only a changed configuration can help."""
    was_ready = status.ready_since_s is not None
    is_stable = status.ready_since_s is not None and now_s - status.ready_since_s >= STABLE_S
    earlier_s = () if is_stable else status.failures_s
    recent_s = (at_s for at_s in earlier_s if now_s - at_s < node.start_limit_interval_s)
    failed = NodeStatus(Phase.FAILED, (*recent_s, now_s), reason)
    if node.restart == "never":
        never = f"{reason}; its restart policy is `never`"
        return replace(failed, phase=Phase.GIVEN_UP, reason=never)
    starts, back_offs = (0, 0) if was_ready else (status.failed_starts + 1, status.back_offs)
    if is_final or starts >= node.start_limit_burst:
        delay_s = BACK_OFF_DELAYS_S[min(back_offs, len(BACK_OFF_DELAYS_S) - 1)]
        failed = replace(failed, phase=Phase.BACKING_OFF, back_offs=back_offs + 1)
    else:
        delay_s = backoff_s(len(failed.failures_s), node.restart_delay_ms / 1000, DELAY_MAX_S)
    return replace(failed, failed_starts=starts, retry_at_s=now_s + delay_s)


def explain_failure(status: NodeStatus, now_s: float, now: datetime) -> str:
    """Return the reason of a failure and, while the node backs off, when it is started again."""
    if status.phase != Phase.BACKING_OFF:
        return status.reason
    at = (now + timedelta(seconds=status.retry_at_s - now_s)).astimezone()
    return f"{status.reason}; failed start {status.failed_starts}, next try at {at:%H:%M:%S}"


def _next(
    name: str, graph: NodeGraph, statuses: Mapping[str, NodeStatus], now_s: float
) -> Action | None:
    status = statuses[name]
    if status.phase in WAITING:
        if now_s < status.retry_at_s:
            return RestartNode(name, status.retry_at_s)
    elif status.phase != Phase.ABSENT:
        return None
    return None if find_unmet_needs(name, graph, statuses) else StartNode(name)


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
