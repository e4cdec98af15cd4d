"""Hear, think, speak, remember: never better than what they rest on, never green by default."""

from __future__ import annotations

import pytest

from barnabee.api.capabilities import assess_capabilities, find_worst_state
from barnabee.api.cascade import (
    ComponentHealth,
    HealthByService,
    ServiceHealth,
    parse_health_report,
)
from barnabee.core.health import HealthState

GOOD = ComponentHealth(HealthState.HEALTHY)


def house(**changed: HealthState) -> dict[str, ServiceHealth]:
    """Return a house that is well but for what is named: `gpu`, or `gpu__stt`."""
    needs = {
        "gpu": ("stt", "tts", "embed", "wake"),
        "api": ("database", "redis", "replica", "home_assistant"),
        "voice": ("gpu", "recordings"),
        "redis": (),
        "worker": (),
        "litestream": (),
    }

    def found(key: str) -> ComponentHealth:
        state = changed.get(key, HealthState.HEALTHY)
        return GOOD if state == HealthState.HEALTHY else ComponentHealth(state, "dependency_down", f"{key} is away")

    return {
        name: ServiceHealth(found(name), {need: found(f"{name}__{need}") for need in names})
        for name, names in needs.items()
    }


def states(nodes: HealthByService) -> dict[str, HealthState]:
    return {one.key: one.state for one in assess_capabilities(nodes)}


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
        name: ServiceHealth(ComponentHealth(HealthState.UNKNOWN)) if name == service else node
        for name, node in house().items()
    }
    assert HealthState.UNKNOWN in states(nodes).values()


def test_what_nobody_configured_is_no_trouble() -> None:
    nodes = house()
    off = ComponentHealth(HealthState.DEGRADED, "not_configured", "no model")
    nodes["api"] = ServiceHealth(GOOD, {**nodes["api"].needs, "llm": off})
    assert states(nodes)["think"] == HealthState.HEALTHY


def test_a_service_that_is_away_takes_what_it_knows_of_with_it() -> None:
    nodes = {**house(), "api": ServiceHealth(ComponentHealth(HealthState.UNHEALTHY, "dependency_down", "gone"))}
    assert states(nodes)["remember"] == HealthState.UNHEALTHY


def test_a_report_says_the_worst_of_what_it_lacks() -> None:
    report = {
        "status": "unhealthy",
        "dependencies": {
            "redis": {"status": "unhealthy", "hard": False, "code": "a", "message": "soft"},
            "database": {"status": "unhealthy", "hard": True, "code": "b", "message": "hard"},
        },
    }
    node = parse_health_report(report)
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
        parse_health_report(report)  # type: ignore[arg-type]


def test_the_worst_of_several() -> None:
    assert find_worst_state([HealthState.HEALTHY, HealthState.DEGRADED]) == HealthState.DEGRADED
    assert find_worst_state([HealthState.UNKNOWN, HealthState.DEGRADED]) == HealthState.UNKNOWN
    assert find_worst_state([HealthState.UNKNOWN, HealthState.UNHEALTHY]) == HealthState.UNHEALTHY
