"""State of the assistant's capabilities."""

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


def make_services(**changed: HealthState) -> dict[str, ServiceHealth]:
    """Return healthy services except for the named ones: `gpu`, or `gpu__stt`."""
    dependencies = {
        "gpu": ("stt", "tts", "embed", "wake"),
        "api": ("database", "redis", "replica", "home_assistant"),
        "voice": ("gpu", "recordings"),
        "redis": (),
        "worker": (),
        "litestream": (),
    }

    def make_health(key: str) -> ComponentHealth:
        state = changed.get(key, HealthState.HEALTHY)
        return (
            GOOD
            if state == HealthState.HEALTHY
            else ComponentHealth(state, "dependency_down", f"{key} does not answer")
        )

    return {
        name: ServiceHealth(
            make_health(name), {need: make_health(f"{name}__{need}") for need in names}
        )
        for name, names in dependencies.items()
    }


def get_states(services: HealthByService) -> dict[str, HealthState]:
    return {one.key: one.state for one in assess_capabilities(services)}


def test_all_capabilities_are_healthy() -> None:
    assert set(get_states(make_services()).values()) == {HealthState.HEALTHY}


def test_state_is_unknown_before_the_first_check() -> None:
    assert set(get_states({}).values()) == {HealthState.UNKNOWN}


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


@pytest.mark.parametrize(("failed", "capability", "state"), CASES)
def test_failed_dependency_shows_in_its_capability(
    failed: str, capability: str, state: HealthState
) -> None:
    assert get_states(make_services(**{failed: HealthState.UNHEALTHY}))[capability] == state


@pytest.mark.parametrize("service", ["gpu", "api", "voice"])
def test_capability_of_an_unknown_service_is_unknown(service: str) -> None:
    services = {
        name: ServiceHealth(ComponentHealth(HealthState.UNKNOWN)) if name == service else health
        for name, health in make_services().items()
    }
    assert HealthState.UNKNOWN in get_states(services).values()


def test_unconfigured_dependency_does_not_degrade() -> None:
    services = make_services()
    off = ComponentHealth(HealthState.DEGRADED, "not_configured", "no model")
    services["api"] = ServiceHealth(GOOD, {**services["api"].dependencies, "llm": off})
    assert get_states(services)["think"] == HealthState.HEALTHY


def test_dependencies_of_a_failed_service_count_as_failed() -> None:
    services = {
        **make_services(),
        "api": ServiceHealth(ComponentHealth(HealthState.UNHEALTHY, "dependency_down", "gone")),
    }
    assert get_states(services)["remember"] == HealthState.UNHEALTHY


def test_report_has_the_message_of_the_worst_dependency() -> None:
    report = {
        "status": "unhealthy",
        "dependencies": {
            "redis": {"status": "unhealthy", "hard": False, "code": "a", "message": "soft"},
            "database": {"status": "unhealthy", "hard": True, "code": "b", "message": "hard"},
        },
    }
    health = parse_health_report(report)
    assert (health.itself.state, health.itself.code, health.itself.message) == (
        HealthState.UNHEALTHY,
        "b",
        "hard",
    )


@pytest.mark.parametrize(
    "report", [{}, [], "ok", {"status": "fine", "dependencies": {}}, {"status": "healthy"}]
)
def test_body_that_is_no_health_report_is_an_error(report: object) -> None:
    with pytest.raises(ValueError, match=r"no health report|not a valid"):
        parse_health_report(report)  # type: ignore[arg-type]


def test_worst_state_of_several() -> None:
    assert find_worst_state([HealthState.HEALTHY, HealthState.DEGRADED]) == HealthState.DEGRADED
    assert find_worst_state([HealthState.UNKNOWN, HealthState.DEGRADED]) == HealthState.UNKNOWN
    assert find_worst_state([HealthState.UNKNOWN, HealthState.UNHEALTHY]) == HealthState.UNHEALTHY
