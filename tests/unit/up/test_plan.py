"""Decisions of the runner for any graph and any statuses."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barnabee.core.schema import ServiceConfig
from barnabee.up import plan
from barnabee.up.plan import (
    GiveUpNode,
    NodeGraph,
    NodeStatus,
    Phase,
    RestartNode,
    StartNode,
    StopNode,
)

NAMES = [f"n{number}" for number in range(5)]
RUNNING_PHASES = sorted(plan.RUNNING)


PLAIN = ServiceConfig(
    summary="a node", role="core", probe="tcp", startup_budget_s=10, memory_max_mib=64
)


def node(**keys: object) -> ServiceConfig:
    return PLAIN.model_copy(update=keys)


@st.composite
def graphs(draw: st.DrawFn) -> NodeGraph:
    nodes = {}
    for number, name in enumerate(NAMES):
        needs = draw(st.sets(st.sampled_from(NAMES[:number]))) if number else set()
        others = sorted(set(NAMES) - {name} - needs)
        nodes[name] = node(
            needs=sorted(needs),
            wants=sorted(draw(st.sets(st.sampled_from(others)))) if others else [],
            restart=draw(st.sampled_from(["always", "on-failure", "never"])),
            start_limit_burst=draw(st.integers(1, 4)),
        )
    return NodeGraph(nodes, frozenset(draw(st.sets(st.sampled_from(NAMES), max_size=2))))


@st.composite
def node_statuses(draw: st.DrawFn) -> dict[str, NodeStatus]:
    statuses = {}
    for name in NAMES:
        phase = draw(st.sampled_from(sorted(Phase)))
        count = draw(st.integers(1 if phase == Phase.FAILED else 0, 5))
        times_s = sorted(draw(st.lists(st.floats(0, 100), min_size=count, max_size=count)))
        clean, final = draw(st.booleans()), draw(st.booleans())
        statuses[name] = NodeStatus(
            phase, tuple(times_s), "because", is_clean=clean, is_final=final
        )
    return statuses


def started(actions: list[plan.Action]) -> set[str]:
    return {action.name for action in actions if isinstance(action, StartNode)}


@given(graphs(), node_statuses(), st.floats(0, 200))
def test_nothing_starts_before_its_needs_are_ready(
    graph: NodeGraph, statuses: dict[str, NodeStatus], now_s: float
) -> None:
    for name in started(plan.decide_actions(graph, statuses, now_s)):
        assert all(statuses[need].phase in plan.USABLE for need in graph.nodes[name].needs)
        assert statuses[name].phase in {Phase.ABSENT, Phase.FAILED}


@given(graphs(), node_statuses(), st.floats(0, 200))
def test_everything_startable_starts_and_wants_do_not_block(
    graph: NodeGraph, statuses: dict[str, NodeStatus], now_s: float
) -> None:
    can = {
        name
        for name, status in statuses.items()
        if status.phase == Phase.ABSENT
        and all(statuses[need].phase in plan.USABLE for need in graph.nodes[name].needs)
    }
    assert can <= started(plan.decide_actions(graph, statuses, now_s))


@given(graphs())
def test_without_failures_every_node_becomes_ready(graph: NodeGraph) -> None:
    statuses = {name: NodeStatus() for name in NAMES}
    for _ in NAMES:
        for name in started(plan.decide_actions(graph, statuses, 0)):
            statuses[name] = NodeStatus(Phase.READY)
    assert {status.phase for status in statuses.values()} == {Phase.READY}
    assert plan.decide_actions(graph, statuses, 0) == []


@given(st.integers(1, 60_000), st.lists(st.floats(0, 100), min_size=1, max_size=30))
def test_the_delay_doubles_up_to_its_limit(first_ms: int, times_s: list[float]) -> None:
    one = node(restart_delay_ms=first_ms)
    delays = [
        plan.restart_delay_s(one, tuple(sorted(times_s)[: n + 1])) for n in range(len(times_s))
    ]
    assert delays[0] == min(first_ms / 1000, plan.DELAY_MAX_S)
    for before, after in pairwise(delays):
        assert after == min(before * 2, plan.DELAY_MAX_S)


def test_an_old_failure_does_not_increase_the_delay() -> None:
    one = node(restart_delay_ms=500, start_limit_interval_s=120)
    assert plan.restart_delay_s(one, (0.0, 1.0, 500.0)) == 0.5


@given(graphs(), node_statuses(), st.floats(0, 200))
def test_a_failed_node_restarts_after_its_delay_within_limits(
    graph: NodeGraph, statuses: dict[str, NodeStatus], now_s: float
) -> None:
    actions = {action.name: action for action in plan.decide_actions(graph, statuses, now_s)}
    for name, status in statuses.items():
        if status.phase != Phase.FAILED:
            continue
        one, action = graph.nodes[name], actions.get(name)
        exhausted = len(status.failures_s) >= one.start_limit_burst
        ended = status.is_clean and one.restart == "on-failure"
        if status.is_final or exhausted or ended or one.restart == "never":
            assert isinstance(action, GiveUpNode)
            continue
        at_s = status.failures_s[-1] + plan.restart_delay_s(one, status.failures_s)
        if now_s < at_s:
            assert action == RestartNode(name, at_s)
        else:
            assert action is None or action == StartNode(name)


@given(graphs(), node_statuses(), st.floats(0, 7))
def test_a_stop_only_stops_nodes_without_running_dependents(
    graph: NodeGraph, statuses: dict[str, NodeStatus], since_s: float
) -> None:
    actions = plan.decide_actions(graph, statuses, 100 + since_s, stop_since_s=100)
    assert all(isinstance(action, StopNode) and not action.kill for action in actions)
    running = {name for name, status in statuses.items() if status.phase in plan.RUNNING}
    for action in actions:
        assert statuses[action.name].phase in {Phase.STARTING, Phase.READY}
        assert not any(action.name in graph.nodes[other].needs for other in running)


@given(graphs(), st.data())
def test_a_stop_ends_every_node_of_any_graph(graph: NodeGraph, data: st.DataObject) -> None:
    phases = st.sampled_from([Phase.STARTING, Phase.READY, Phase.ABSENT, Phase.FAILED])
    statuses = {name: NodeStatus(data.draw(phases), (0.0,)) for name in NAMES}
    for _ in range(len(NAMES) + 1):
        for action in plan.decide_actions(graph, statuses, 1, stop_since_s=0):
            assert isinstance(action, StopNode)
            statuses[action.name] = replace(statuses[action.name], phase=Phase.ABSENT)
    assert not any(status.phase in plan.RUNNING for status in statuses.values())


@given(graphs(), node_statuses())
def test_after_the_stop_limit_remaining_nodes_are_killed_once(
    graph: NodeGraph, statuses: dict[str, NodeStatus]
) -> None:
    actions = plan.decide_actions(graph, statuses, 100 + plan.STOP_LIMIT_S, stop_since_s=100)
    left = {name for name, status in statuses.items() if status.phase in plan.RUNNING}
    killed = {name for name in left if statuses[name].phase == Phase.KILLED}
    assert {(action.name, action.kill) for action in actions if isinstance(action, StopNode)} == {
        (name, True) for name in left - killed
    }


def test_companions_stop_after_the_services() -> None:
    graph = NodeGraph({"s3": node(), "litestream": node()}, companions=frozenset({"s3"}))
    statuses = {name: NodeStatus(Phase.READY) for name in graph.nodes}
    assert plan.decide_actions(graph, statuses, 1, stop_since_s=0) == [StopNode("litestream")]


def test_after_orders_without_requiring() -> None:
    graph = NodeGraph({"home": node(), "api": node()}, after={"api": frozenset({"home"})})
    statuses = {"home": NodeStatus(Phase.STARTING), "api": NodeStatus()}
    assert plan.decide_actions(graph, statuses, 0) == []
    assert plan.find_unmet_needs("api", graph, statuses) == ["home"]
    statuses["home"] = NodeStatus(Phase.GIVEN_UP)
    assert plan.decide_actions(graph, statuses, 0) == [StartNode("api")]


@pytest.mark.parametrize("phase", [Phase.ABSENT, Phase.STARTING, Phase.FAILED])
def test_a_restart_waits_for_its_needs(phase: Phase) -> None:
    graph = NodeGraph({"redis": node(), "worker": node(needs=["redis"])})
    statuses = {"redis": NodeStatus(phase, (10.0,)), "worker": NodeStatus(Phase.FAILED, (10.0,))}
    assert "worker" not in started(plan.decide_actions(graph, statuses, 10.6))


def test_a_blocked_node_names_the_given_up_one() -> None:
    graph = NodeGraph({"a": node(), "b": node(needs=["a"]), "c": node(needs=["b"])})
    statuses = {"a": NodeStatus(Phase.GIVEN_UP), "b": NodeStatus(), "c": NodeStatus()}
    assert plan.find_failed_dependency("c", graph, statuses) == "a"
    assert plan.decide_actions(graph, statuses, 0) == []
