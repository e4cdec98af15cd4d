"""Hear, think, speak, remember: never better than what they rest on, never green by default."""

from __future__ import annotations

import pytest

from barnabee.api.capabilities import abilities, worst
from barnabee.api.cascade import Found, Node, Nodes, node_of
from barnabee.core.health import HealthState

GOOD = Found(HealthState.HEALTHY)


def house(**changed: HealthState) -> dict[str, Node]:
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
        state = changed.get(key, HealthState.HEALTHY)
        return GOOD if state == HealthState.HEALTHY else Found(state, "dependency_down", f"{key} is away")

    return {
        name: Node(found(name), {need: found(f"{name}__{need}") for need in names})
        for name, names in needs.items()
    }


def states(nodes: Nodes) -> dict[str, HealthState]:
    return {one.key: one.state for one in abilities(nodes)}


def test_all_is_well() -> None:
    assert set(states(house()).values()) == {HealthState.HEALTHY}


def test_nothing_is_known_before_anybody_looked() -> None:
    assert set(states({}).values()) == {HealthState.UNKNOWN}


CASES = [
    ("gpu__stt", "hear", HealthState.UNHEALTHY),
    ("gpu__wake", "hear", HealthState.DEGRADED),
    ("voice", "hear", HealthState.UNHEALTHY),
    ("gpu", "speak", HealthState.UNHEALTHY),
    ("gpu__tts", "speak", HealthState.UNHEALTHY),
    ("api", "think", HealthState.UNHEALTHY),
    ("api__home_assistant", "think", HealthState.DEGRADED),
    ("gpu__embed", "think", HealthState.DEGRADED),
    ("api__database", "remember", HealthState.UNHEALTHY),
    ("litestream", "remember", HealthState.DEGRADED),
    ("redis", "remember", HealthState.DEGRADED),
]


@pytest.mark.parametrize(("gone", "ability", "state"), CASES)
def test_what_is_gone_shows_in_the_ability_that_rests_on_it(
    gone: str, ability: str, state: HealthState
) -> None:
    assert states(house(**{gone: HealthState.UNHEALTHY}))[ability] == state


@pytest.mark.parametrize("service", ["gpu", "api", "voice"])
def test_a_service_that_nobody_knows_of_is_never_green(service: str) -> None:
    nodes = {
        name: Node(Found(HealthState.UNKNOWN)) if name == service else node
        for name, node in house().items()
    }
    assert HealthState.UNKNOWN in states(nodes).values()


def test_what_nobody_configured_is_no_trouble() -> None:
    nodes = house()
    off = Found(HealthState.DEGRADED, "not_configured", "no model")
    nodes["api"] = Node(GOOD, {**nodes["api"].needs, "llm": off})
    assert states(nodes)["think"] == HealthState.HEALTHY


def test_a_service_that_is_away_takes_what_it_knows_of_with_it() -> None:
    nodes = {**house(), "api": Node(Found(HealthState.UNHEALTHY, "dependency_down", "gone"))}
    assert states(nodes)["remember"] == HealthState.UNHEALTHY


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
        HealthState.UNHEALTHY,
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
    assert worst([HealthState.HEALTHY, HealthState.DEGRADED]) == HealthState.DEGRADED
    assert worst([HealthState.UNKNOWN, HealthState.DEGRADED]) == HealthState.UNKNOWN
    assert worst([HealthState.UNKNOWN, HealthState.UNHEALTHY]) == HealthState.UNHEALTHY
