"""What the runner does next, for any graph and any course of events."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barnabee.core.schema import Service
from barnabee.up import plan
from barnabee.up.plan import GiveUp, Graph, Phase, Restart, Seen, Start, Stop

NAMES = [f"n{number}" for number in range(5)]
RUNNING_PHASES = sorted(plan.RUNNING)


PLAIN = Service(summary="a node", role="core", probe="tcp", startup_budget_s=10, memory_max_mib=64)


def node(**keys: object) -> Service:
    return PLAIN.model_copy(update=keys)


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
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
    return Graph(nodes, frozenset(draw(st.sets(st.sampled_from(NAMES), max_size=2))))


@st.composite
def sights(draw: st.DrawFn) -> dict[str, Seen]:
    seen = {}
    for name in NAMES:
        phase = draw(st.sampled_from(sorted(Phase)))
        count = draw(st.integers(1 if phase == Phase.FAILED else 0, 5))
        times_s = sorted(draw(st.lists(st.floats(0, 100), min_size=count, max_size=count)))
        clean, final = draw(st.booleans()), draw(st.booleans())
        seen[name] = Seen(phase, tuple(times_s), "because", clean=clean, final=final)
    return seen


def started(actions: list[plan.Action]) -> set[str]:
    return {action.name for action in actions if isinstance(action, Start)}


@given(graphs(), sights(), st.floats(0, 200))
def test_nothing_starts_before_all_it_needs_is_usable(
    graph: Graph, seen: dict[str, Seen], now_s: float
) -> None:
    for name in started(plan.decide(graph, seen, now_s)):
        assert all(seen[need].phase in plan.USABLE for need in graph.nodes[name].needs)
        assert seen[name].phase in {Phase.ABSENT, Phase.FAILED}


@given(graphs(), sights(), st.floats(0, 200))
def test_everything_that_can_start_is_started_at_once_and_wants_hold_nothing_back(
    graph: Graph, seen: dict[str, Seen], now_s: float
) -> None:
    can = {
        name
        for name, this in seen.items()
        if this.phase == Phase.ABSENT
        and all(seen[need].phase in plan.USABLE for need in graph.nodes[name].needs)
    }
    assert can <= started(plan.decide(graph, seen, now_s))


@given(graphs())
def test_a_house_where_everything_works_comes_up_whole(graph: Graph) -> None:
    seen = {name: Seen() for name in NAMES}
    for _ in NAMES:
        for name in started(plan.decide(graph, seen, 0)):
            seen[name] = Seen(Phase.READY)
    assert {this.phase for this in seen.values()} == {Phase.READY}
    assert plan.decide(graph, seen, 0) == []


@given(st.integers(1, 60_000), st.lists(st.floats(0, 100), min_size=1, max_size=30))
def test_the_delay_doubles_up_to_a_cap(first_ms: int, times_s: list[float]) -> None:
    one = node(restart_delay_ms=first_ms)
    delays = [plan.delay_s(one, tuple(sorted(times_s)[: n + 1])) for n in range(len(times_s))]
    assert delays[0] == min(first_ms / 1000, plan.DELAY_MAX_S)
    for before, after in pairwise(delays):
        assert after == min(before * 2, plan.DELAY_MAX_S)


def test_a_failure_long_ago_does_not_lengthen_the_delay() -> None:
    one = node(restart_delay_ms=500, start_limit_interval_s=120)
    assert plan.delay_s(one, (0.0, 1.0, 500.0)) == 0.5


@given(graphs(), sights(), st.floats(0, 200))
def test_a_failed_node_starts_again_only_after_its_delay_and_within_its_limit(
    graph: Graph, seen: dict[str, Seen], now_s: float
) -> None:
    actions = {action.name: action for action in plan.decide(graph, seen, now_s)}
    for name, this in seen.items():
        if this.phase != Phase.FAILED:
            continue
        one, action = graph.nodes[name], actions.get(name)
        exhausted = len(this.failures_s) >= one.start_limit_burst
        ended = this.clean and one.restart == "on-failure"
        if this.final or exhausted or ended or one.restart == "never":
            assert isinstance(action, GiveUp)
            continue
        at_s = this.failures_s[-1] + plan.delay_s(one, this.failures_s)
        if now_s < at_s:
            assert action == Restart(name, at_s)
        else:
            assert action is None or action == Start(name)


@given(graphs(), sights(), st.floats(0, 7))
def test_a_stop_starts_nothing_and_touches_only_what_nothing_running_needs(
    graph: Graph, seen: dict[str, Seen], since_s: float
) -> None:
    actions = plan.decide(graph, seen, 100 + since_s, stop_since_s=100)
    assert all(isinstance(action, Stop) and not action.kill for action in actions)
    running = {name for name, this in seen.items() if this.phase in plan.RUNNING}
    for action in actions:
        assert seen[action.name].phase in {Phase.STARTING, Phase.READY}
        assert not any(action.name in graph.nodes[other].needs for other in running)


@given(graphs(), st.data())
def test_a_stop_ends_with_nothing_running_whatever_the_graph(
    graph: Graph, data: st.DataObject
) -> None:
    phases = st.sampled_from([Phase.STARTING, Phase.READY, Phase.ABSENT, Phase.FAILED])
    seen = {name: Seen(data.draw(phases), (0.0,)) for name in NAMES}
    for _ in range(len(NAMES) + 1):
        for action in plan.decide(graph, seen, 1, stop_since_s=0):
            assert isinstance(action, Stop)
            seen[action.name] = replace(seen[action.name], phase=Phase.ABSENT)
    assert not any(this.phase in plan.RUNNING for this in seen.values())


@given(graphs(), sights())
def test_after_the_stop_limit_everything_left_is_killed_once(
    graph: Graph, seen: dict[str, Seen]
) -> None:
    actions = plan.decide(graph, seen, 100 + plan.STOP_LIMIT_S, stop_since_s=100)
    left = {name for name, this in seen.items() if this.phase in plan.RUNNING}
    killed = {name for name in left if seen[name].phase == Phase.KILLED}
    assert {(action.name, action.kill) for action in actions if isinstance(action, Stop)} == {
        (name, True) for name in left - killed
    }


def test_companions_outlast_the_services() -> None:
    graph = Graph({"s3": node(), "litestream": node()}, companions=frozenset({"s3"}))
    seen = {name: Seen(Phase.READY) for name in graph.nodes}
    assert plan.decide(graph, seen, 1, stop_since_s=0) == [Stop("litestream")]


def test_after_orders_without_needing() -> None:
    graph = Graph({"home": node(), "api": node()}, after={"api": frozenset({"home"})})
    seen = {"home": Seen(Phase.STARTING), "api": Seen()}
    assert plan.decide(graph, seen, 0) == []
    assert plan.waits_for("api", graph, seen) == ["home"]
    seen["home"] = Seen(Phase.GIVEN_UP)
    assert plan.decide(graph, seen, 0) == [Start("api")]


@pytest.mark.parametrize("phase", [Phase.ABSENT, Phase.STARTING, Phase.FAILED])
def test_a_restart_waits_for_what_it_needs(phase: Phase) -> None:
    graph = Graph({"redis": node(), "worker": node(needs=["redis"])})
    seen = {"redis": Seen(phase, (10.0,)), "worker": Seen(Phase.FAILED, (10.0,))}
    assert "worker" not in started(plan.decide(graph, seen, 10.6))


def test_a_node_behind_a_given_up_one_says_what_blocks_it() -> None:
    graph = Graph({"a": node(), "b": node(needs=["a"]), "c": node(needs=["b"])})
    seen = {"a": Seen(Phase.GIVEN_UP), "b": Seen(), "c": Seen()}
    assert plan.blocked_by("c", graph, seen) == "a"
    assert plan.decide(graph, seen, 0) == []
