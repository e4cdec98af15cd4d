"""Decisions of the runner for any graph and any statuses."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barnabee.core.schema import ServiceConfig
from barnabee.up import plan
from barnabee.up.plan import NodeGraph, NodeStatus, Phase, RestartNode, StartNode, StopNode

NAMES = [f"n{number}" for number in range(5)]
ROUNDING_S = 1e-6


PLAIN = ServiceConfig(
    summary="a node", role="core", probe="http", startup_budget_s=10, memory_max_mib=64
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
            restart=draw(st.sampled_from(["always", "never"])),
            start_limit_burst=draw(st.integers(1, 4)),
        )
    return NodeGraph(nodes, frozenset(draw(st.sets(st.sampled_from(NAMES), max_size=2))))


@st.composite
def node_statuses(draw: st.DrawFn) -> dict[str, NodeStatus]:
    statuses = {}
    for name in NAMES:
        phase = draw(st.sampled_from(sorted(Phase)))
        retry_at_s = draw(st.floats(0, 200)) if phase in plan.WAITING else 0.0
        statuses[name] = NodeStatus(phase, reason="because", retry_at_s=retry_at_s)
    return statuses


def started(actions: list[plan.Action]) -> set[str]:
    return {action.name for action in actions if isinstance(action, StartNode)}


@given(graphs(), node_statuses(), st.floats(0, 200))
def test_nothing_starts_before_its_needs_are_ready(
    graph: NodeGraph, statuses: dict[str, NodeStatus], now_s: float
) -> None:
    for name in started(plan.decide_actions(graph, statuses, now_s)):
        assert all(statuses[need].phase in plan.USABLE for need in graph.nodes[name].needs)
        assert statuses[name].phase in {Phase.ABSENT} | plan.WAITING


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


# A start ends after some seconds, ready or not, with the status of a wrong configuration or not.
Start = tuple[float, bool, bool]
starts = st.lists(st.tuples(st.floats(0, 1000), st.booleans(), st.booleans()), max_size=40)


@given(starts, st.integers(1, 60_000), st.integers(1, 10), st.sampled_from(["daemon", "oneshot"]))
def test_after_any_history_a_node_starts_again_within_five_minutes(
    history: list[Start], first_ms: int, burst: int, kind: str
) -> None:
    one = node(kind=kind, restart_delay_ms=first_ms, start_limit_burst=burst)
    graph, now_s, status = NodeGraph({"one": one}), 0.0, NodeStatus()
    for took_s, was_ready, is_final in history:
        assert plan.decide_actions(graph, {"one": status}, now_s) == [StartNode("one")]
        running = replace(status, ready_since_s=now_s if was_ready else None)
        now_s += took_s
        status = plan.record_failure(one, running, now_s, "because", is_final=is_final)
        assert now_s < status.retry_at_s <= now_s + plan.BACK_OFF_DELAYS_S[-1] + ROUNDING_S
        waiting = plan.decide_actions(graph, {"one": status}, now_s)
        assert waiting == [RestartNode("one", status.retry_at_s)]
        now_s = status.retry_at_s


@given(st.lists(st.floats(0, 1000), min_size=1, max_size=40), st.integers(1, 60_000))
def test_a_node_that_was_ready_starts_again_within_seconds(
    uptimes_s: list[float], first_ms: int
) -> None:
    one, now_s, status = node(restart_delay_ms=first_ms), 0.0, NodeStatus()
    for uptime_s in uptimes_s:
        running = replace(status, ready_since_s=now_s)
        now_s += uptime_s
        status = plan.record_failure(one, running, now_s, "killed")
        assert status.phase == Phase.FAILED
        limit_s = min(first_ms / 1000, plan.DELAY_MAX_S) if uptime_s >= 11 else plan.DELAY_MAX_S
        assert status.retry_at_s <= now_s + limit_s + ROUNDING_S


def fail_repeatedly(count: int, **keys: object) -> list[NodeStatus]:
    """Return the statuses after failed starts that take no time."""
    one, now_s, status = node(restart_delay_ms=500, **keys), 0.0, NodeStatus()
    statuses = []
    for _ in range(count):
        status = plan.record_failure(one, status, now_s, "because")
        statuses.append(status)
        now_s = status.retry_at_s
    return statuses


def test_after_the_start_limit_the_delays_are_minutes() -> None:
    statuses = fail_repeatedly(8, start_limit_burst=4)
    delays_s = [status.retry_at_s - status.failures_s[-1] for status in statuses]
    assert delays_s == [0.5, 1, 2, 60, 120, 300, 300, 300]
    assert [status.phase for status in statuses[2:4]] == [Phase.FAILED, Phase.BACKING_OFF]


def test_after_a_successful_start_the_delays_are_short_again() -> None:
    status = replace(fail_repeatedly(8)[-1], ready_since_s=4990)
    after = plan.record_failure(node(restart_delay_ms=500), status, 5000, "because")
    assert (after.phase, after.retry_at_s) == (Phase.FAILED, 5000.5)


def test_an_old_failure_does_not_increase_the_delay() -> None:
    status = NodeStatus(failures_s=(0.0, 1.0), ready_since_s=121.0)
    one = node(restart_delay_ms=500, start_limit_interval_s=120)
    assert plan.record_failure(one, status, 121.5, "because").retry_at_s == 122


def test_a_wrong_configuration_is_tried_again_after_minutes() -> None:
    first = plan.record_failure(node(), NodeStatus(), 0, "status 2", is_final=True)
    second = plan.record_failure(node(), first, 100, "status 2", is_final=True)
    assert (first.phase, first.retry_at_s, second.retry_at_s) == (Phase.BACKING_OFF, 60, 220)


def test_only_the_policy_never_gives_up() -> None:
    status = plan.record_failure(node(restart="never"), NodeStatus(), 0, "because")
    assert (status.phase, status.reason) == (
        Phase.GIVEN_UP,
        "because; its restart policy is `never`",
    )
    assert plan.decide_actions(NodeGraph({"one": node()}), {"one": status}, 1e6) == []


def test_the_reason_names_the_time_of_the_next_try() -> None:
    noon = datetime(2026, 1, 31, 12, tzinfo=UTC)
    status = fail_repeatedly(1, start_limit_burst=1)[0]
    at = noon.astimezone().replace(minute=1)
    reason = plan.explain_failure(status, 0, noon)
    assert reason == f"because; failed start 1, next try at {at:%H:%M:%S}"


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
    statuses["home"] = NodeStatus(Phase.BACKING_OFF, retry_at_s=60)
    assert StartNode("api") in plan.decide_actions(graph, statuses, 0)


@pytest.mark.parametrize("phase", [Phase.ABSENT, Phase.STARTING, Phase.FAILED])
def test_a_restart_waits_for_its_needs(phase: Phase) -> None:
    graph = NodeGraph({"redis": node(), "worker": node(needs=["redis"])})
    statuses = {"redis": NodeStatus(phase), "worker": NodeStatus(Phase.FAILED)}
    assert "worker" not in started(plan.decide_actions(graph, statuses, 10.6))


def test_a_blocked_node_names_the_one_that_backs_off() -> None:
    graph = NodeGraph({"a": node(), "b": node(needs=["a"]), "c": node(needs=["b"])})
    backing_off = NodeStatus(Phase.BACKING_OFF, retry_at_s=60)
    statuses = {"a": backing_off, "b": NodeStatus(), "c": NodeStatus()}
    assert plan.find_failed_dependency("c", graph, statuses) == "a"
    assert plan.decide_actions(graph, statuses, 0) == [RestartNode("a", 60)]
