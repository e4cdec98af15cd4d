"""Hear, think, speak, remember: never better than what they rest on, never green by default."""

from __future__ import annotations

import pytest

from barnabee.api.capabilities import abilities, worst
from barnabee.api.cascade import Found, Node, Nodes, node_of
from barnabee.core.health import State

GOOD = Found(State.HEALTHY)


def house(**changed: State) -> dict[str, Node]:
    """Return a house that is well but for what is named: `gpu`, or `gpu__stt`."""
    needs = {
        "gpu": ("stt", "tts", "embed", "wake"),
        "api": ("database", "redis", "replica", "home_assistant"),
        "voice": ("gpu", "recordings"),
        "redis": (),
        "worker": (),
        "litestream": (),
    }

    def found(key: str) -> Found:
        state = changed.get(key, State.HEALTHY)
        return GOOD if state == State.HEALTHY else Found(state, "dependency_down", f"{key} is away")

    return {
        name: Node(found(name), {need: found(f"{name}__{need}") for need in names})
        for name, names in needs.items()
    }


def states(nodes: Nodes) -> dict[str, State]:
    return {one.key: one.state for one in abilities(nodes)}


def test_all_is_well() -> None:
    assert set(states(house()).values()) == {State.HEALTHY}


def test_nothing_is_known_before_anybody_looked() -> None:
    assert set(states({}).values()) == {State.UNKNOWN}


CASES = [
    ("gpu__stt", "hear", State.UNHEALTHY),
    ("gpu__wake", "hear", State.DEGRADED),
    ("voice", "hear", State.UNHEALTHY),
    ("gpu", "speak", State.UNHEALTHY),
    ("gpu__tts", "speak", State.UNHEALTHY),
    ("api", "think", State.UNHEALTHY),
    ("api__home_assistant", "think", State.DEGRADED),
    ("gpu__embed", "think", State.DEGRADED),
    ("api__database", "remember", State.UNHEALTHY),
    ("litestream", "remember", State.DEGRADED),
    ("redis", "remember", State.DEGRADED),
]


@pytest.mark.parametrize(("gone", "ability", "state"), CASES)
def test_what_is_gone_shows_in_the_ability_that_rests_on_it(
    gone: str, ability: str, state: State
) -> None:
    assert states(house(**{gone: State.UNHEALTHY}))[ability] == state


@pytest.mark.parametrize("service", ["gpu", "api", "voice"])
def test_a_service_that_nobody_knows_of_is_never_green(service: str) -> None:
    nodes = {
        name: Node(Found(State.UNKNOWN)) if name == service else node
        for name, node in house().items()
    }
    assert State.UNKNOWN in states(nodes).values()


def test_what_nobody_configured_is_no_trouble() -> None:
    nodes = house()
    off = Found(State.DEGRADED, "not_configured", "no model")
    nodes["api"] = Node(GOOD, {**nodes["api"].needs, "llm": off})
    assert states(nodes)["think"] == State.HEALTHY


def test_a_service_that_is_away_takes_what_it_knows_of_with_it() -> None:
    nodes = {**house(), "api": Node(Found(State.UNHEALTHY, "dependency_down", "gone"))}
    assert states(nodes)["remember"] == State.UNHEALTHY


def test_a_report_says_the_worst_of_what_it_lacks() -> None:
    report = {
        "status": "unhealthy",
        "dependencies": {
            "redis": {"status": "unhealthy", "hard": False, "code": "a", "message": "soft"},
            "database": {"status": "unhealthy", "hard": True, "code": "b", "message": "hard"},
        },
    }
    node = node_of(report)
    assert (node.itself.state, node.itself.code, node.itself.message) == (
        State.UNHEALTHY,
        "b",
        "hard",
    )


@pytest.mark.parametrize(
    "report", [{}, [], "ok", {"status": "fine", "dependencies": {}}, {"status": "healthy"}]
)
def test_what_is_no_report_is_refused(report: object) -> None:
    with pytest.raises(ValueError, match=r"no report|not a valid"):
        node_of(report)  # type: ignore[arg-type]


def test_the_worst_of_several() -> None:
    assert worst([State.HEALTHY, State.DEGRADED]) == State.DEGRADED
    assert worst([State.UNKNOWN, State.DEGRADED]) == State.UNKNOWN
    assert worst([State.UNKNOWN, State.UNHEALTHY]) == State.UNHEALTHY
