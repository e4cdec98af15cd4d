"""What to do next: the graph, what is seen of each node and the time in, actions out.

Pure: starts nothing, asks nobody, knows no service by name. `runner` calls `decide` whenever
something changed or a time it named has come.

A node starts as soon as everything it needs is ready, whatever the others do. A node that failed
starts again after a delay that doubles with each failure in its interval, up to `DELAY_MAX_S`;
after `start_limit_burst` failures it is given up. Stopping goes the other way: a node is stopped
when nothing that leans on it runs any more, and after `STOP_LIMIT_S` everything left is killed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from barnabee.core.schema import Service

DELAY_MAX_S = 10.0  # a service must be back within 15 s of its failure
STOP_LIMIT_S = 8.0  # a stop must be over within 10 s, killing included


class Phase(StrEnum):
    """Where a node is in its life."""

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
class Seen:
    """What the runner knows of one node; `failures_s` are the times at which it failed."""

    phase: Phase = Phase.ABSENT
    failures_s: tuple[float, ...] = ()
    reason: str = ""
    clean: bool = False  # it ended by itself with exit status 0
    final: bool = False  # it said that starting it again cannot help


@dataclass(frozen=True)
class Graph:
    """The nodes to run; `after` orders without needing: it waits until those are settled."""

    nodes: Mapping[str, Service]
    companions: frozenset[str] = frozenset()
    after: Mapping[str, frozenset[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Start:
    """Start this node now."""

    name: str


@dataclass(frozen=True)
class Restart:
    """This node failed and starts again at `at_s`, if what it needs is ready then."""

    name: str
    at_s: float


@dataclass(frozen=True)
class GiveUp:
    """This node will not be started again."""

    name: str
    reason: str


@dataclass(frozen=True)
class Stop:
    """Ask this node to stop; `kill` leaves it no choice."""

    name: str
    kill: bool = False


Action = Start | Restart | GiveUp | Stop


def decide(
    graph: Graph, seen: Mapping[str, Seen], now_s: float, stop_since_s: float | None = None
) -> list[Action]:
    """Return everything to be done now; `stop_since_s` is when stopping began."""
    if stop_since_s is not None:
        return list(_stops(graph, seen, kill=now_s - stop_since_s >= STOP_LIMIT_S))
    actions = (_next(name, graph, seen, now_s) for name in graph.nodes)
    return [action for action in actions if action is not None]


def waits_for(name: str, graph: Graph, seen: Mapping[str, Seen]) -> list[str]:
    """Return what `name` cannot start without and that is not there."""
    needs = [other for other in graph.nodes[name].needs if other in graph.nodes]
    missing = [other for other in needs if seen[other].phase not in USABLE]
    after = sorted(graph.after.get(name, frozenset()))
    return missing + [other for other in after if not _settled(other, graph, seen)]


def blocked_by(name: str, graph: Graph, seen: Mapping[str, Seen]) -> str | None:
    """Return which given-up node keeps `name` from ever starting, or None."""
    for other in graph.nodes[name].needs:
        if other not in graph.nodes:
            continue
        if seen[other].phase == Phase.GIVEN_UP:
            return other
        if seen[other].phase == Phase.ABSENT:
            deeper = blocked_by(other, graph, seen)
            if deeper is not None:
                return deeper
    return None


def _settled(name: str, graph: Graph, seen: Mapping[str, Seen]) -> bool:
    return seen[name].phase in SETTLED or blocked_by(name, graph, seen) is not None


def delay_s(node: Service, failures_s: tuple[float, ...]) -> float:
    """Return how long to wait after the last failure: doubling, and never above `DELAY_MAX_S`."""
    doublings = min(len(_recent(node, failures_s)) - 1, 16)
    return float(min(node.restart_delay_ms / 1000 * 2**doublings, DELAY_MAX_S))


def _next(name: str, graph: Graph, seen: Mapping[str, Seen], now_s: float) -> Action | None:
    this, node = seen[name], graph.nodes[name]
    if this.phase == Phase.FAILED:
        hopeless = _hopeless(node, this)
        if hopeless:
            return GiveUp(name, hopeless)
        at_s = this.failures_s[-1] + delay_s(node, this.failures_s)
        if now_s < at_s:
            return Restart(name, at_s)
    elif this.phase != Phase.ABSENT:
        return None
    return None if waits_for(name, graph, seen) else Start(name)


def _hopeless(node: Service, this: Seen) -> str | None:
    if this.final:
        return this.reason
    if node.restart == "never":
        return f"{this.reason}; its restart policy is `never`"
    if this.clean and node.restart == "on-failure":
        return "it ended by itself without an error"
    count = len(_recent(node, this.failures_s))
    if count >= node.start_limit_burst:
        return f"{this.reason}; that was failure {count} within {node.start_limit_interval_s} s"
    return None


def _recent(node: Service, failures_s: tuple[float, ...]) -> list[float]:
    return [at_s for at_s in failures_s if failures_s[-1] - at_s < node.start_limit_interval_s]


def _stops(graph: Graph, seen: Mapping[str, Seen], *, kill: bool) -> Iterator[Stop]:
    running = {name for name in graph.nodes if seen[name].phase in RUNNING}
    leaners = _leaners(graph)
    for name in graph.nodes:
        if name not in running:
            continue
        if kill:
            if seen[name].phase != Phase.KILLED:
                yield Stop(name, kill=True)
        elif seen[name].phase in {Phase.STARTING, Phase.READY} and not leaners[name] & running:
            yield Stop(name)


def _leaners(graph: Graph) -> dict[str, set[str]]:
    """Return for each node who must be gone before it stops; never a cycle.

    First what is needed, then companions (they stand in for the outside world, so they outlast
    the services), then what is wanted, where that does not contradict the others.
    """
    leans: dict[str, set[str]] = {name: set() for name in graph.nodes}
    services = [name for name in graph.nodes if name not in graph.companions]
    edges = [(name, need) for name, node in graph.nodes.items() for need in node.needs]
    edges += [(name, first) for name in graph.after for first in sorted(graph.after[name])]
    edges += [(name, companion) for name in services for companion in sorted(graph.companions)]
    edges += [(name, want) for name, node in graph.nodes.items() for want in node.wants]
    for name, other in edges:
        if name in leans and other in leans and not _reaches(other, name, leans):
            leans[name].add(other)
    return {name: {who for who in leans if name in leans[who]} for name in leans}


def _reaches(start: str, goal: str, leans: Mapping[str, set[str]]) -> bool:
    stack, visited = [start], set[str]()
    while stack:
        name = stack.pop()
        if name == goal:
            return True
        if name not in visited:
            visited.add(name)
            stack.extend(leans[name])
    return False
