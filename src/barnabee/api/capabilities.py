"""Capabilities of the assistant as a family sees them, derived from the health of the services.

A capability has required dependencies and optional ones that improve it. Its state is never better
than that of its required dependencies, and unknown until they have been checked. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from barnabee.api.cascade import NOT_CONFIGURED, ComponentHealth, HealthByService
from barnabee.core.health import HealthState


@dataclass(frozen=True, slots=True)
class CapabilityDependency:
    """Dependency of a capability: a service, or one of the service's own (`gpu/stt`)."""

    path: str
    message_if_down: str


@dataclass(frozen=True, slots=True)
class CapabilityRule:
    """How the state of one capability follows from its dependencies, with the texts to show."""

    key: str
    title: str
    message_if_healthy: str
    required: tuple[CapabilityDependency, ...]
    optional: tuple[CapabilityDependency, ...] = ()


@dataclass(frozen=True, slots=True)
class CapabilityReport:
    """State of one capability; `since_s` in seconds since the epoch, 0 if unknown."""

    key: str
    title: str
    state: HealthState
    says: str
    since_s: float


CAPABILITY_RULES = (
    CapabilityRule(
        "hear",
        "Listening",
        "It hears you and responds to its wake word.",
        (
            CapabilityDependency("voice", "The voice service is not running."),
            CapabilityDependency("gpu", "The speech service is not running."),
            CapabilityDependency("gpu/stt", "Speech recognition does not work."),
        ),
        (
            CapabilityDependency(
                "gpu/wake", "Wake word detection does not work. Use the talk button."
            ),
            CapabilityDependency("voice/gpu", "It hears you, with reduced quality."),
        ),
    ),
    CapabilityRule(
        "think",
        "Commands",
        "It understands requests and carries them out.",
        (CapabilityDependency("api", "The command service is not working."),),
        (
            CapabilityDependency(
                "api/home_assistant",
                "Home Assistant does not answer. Lights and switches are unavailable.",
            ),
            CapabilityDependency(
                "api/llm",
                "The language model does not answer. Home control works, chat does not.",
            ),
            CapabilityDependency("gpu/embed", "It understands simple commands only."),
        ),
    ),
    CapabilityRule(
        "speak",
        "Speaking",
        "It answers aloud.",
        (
            CapabilityDependency("voice", "The voice service is not running."),
            CapabilityDependency(
                "gpu", "The speech service is not running. Recorded phrases and text still work."
            ),
            CapabilityDependency(
                "gpu/tts", "Speech synthesis does not work. Recorded phrases and text still work."
            ),
        ),
        (
            CapabilityDependency(
                "voice/recordings", "It answers aloud, but has no phrases to play while it works."
            ),
        ),
    ),
    CapabilityRule(
        "remember",
        "Memory",
        "Everything is saved, and the backup is up to date.",
        (
            CapabilityDependency(
                "api/database", "The database is unavailable. Nothing can be saved or looked up."
            ),
        ),
        (
            CapabilityDependency("redis", "A conversation may be lost if the assistant restarts."),
            CapabilityDependency("worker", "New entries will be saved later."),
            CapabilityDependency("api/replica", "Everything is saved, but the backup is behind."),
            CapabilityDependency(
                "litestream", "Everything is saved, but the backup service is not running."
            ),
        ),
    ),
)


def assess_capabilities(services: HealthByService) -> list[CapabilityReport]:
    """Return the state of every capability, in the order of `CAPABILITY_RULES`."""
    return [_assess_capability(rule, services) for rule in CAPABILITY_RULES]


def _assess_capability(rule: CapabilityRule, services: HealthByService) -> CapabilityReport:
    required = [(one, _find_health(services, one.path)) for one in rule.required]
    optional = [(one, _find_health(services, one.path)) for one in rule.optional]
    for dependency, health in required:
        if health is not None and health.state == HealthState.UNHEALTHY:
            return _make_report(rule, HealthState.UNHEALTHY, dependency.message_if_down, health)
    if any(health is None or health.state == HealthState.UNKNOWN for _, health in required):
        return _make_report(rule, HealthState.UNKNOWN, "Not checked yet.", None)
    for dependency, health in optional:
        if (
            health is not None
            and health.state != HealthState.HEALTHY
            and health.code != NOT_CONFIGURED
        ):
            return _make_report(rule, HealthState.DEGRADED, dependency.message_if_down, health)
    for dependency, health in required:
        if health is not None and "/" in dependency.path and health.state == HealthState.DEGRADED:
            message = _make_sentence(health) or rule.message_if_healthy
            return _make_report(rule, HealthState.DEGRADED, message, health)
    newest = max(filter(None, (health for _, health in required)), key=lambda one: one.since_s)
    return _make_report(rule, HealthState.HEALTHY, rule.message_if_healthy, newest)


def _make_report(
    rule: CapabilityRule, state: HealthState, message: str, health: ComponentHealth | None
) -> CapabilityReport:
    return CapabilityReport(rule.key, rule.title, state, message, health.since_s if health else 0.0)


def _find_health(services: HealthByService, path: str) -> ComponentHealth | None:
    name, _, dependency = path.partition("/")
    service = services.get(name)
    if service is None:
        return None
    if not dependency:
        return service.itself
    if dependency in service.dependencies:
        return service.dependencies[dependency]
    # A service that does not answer reports nothing about its dependencies.
    is_down = service.itself.state in {HealthState.UNHEALTHY, HealthState.UNKNOWN}
    return service.itself if is_down else None


def _make_sentence(health: ComponentHealth) -> str:
    text = (health.message or "").strip()
    return f"{text[:1].upper()}{text[1:].rstrip('.')}." if text else ""


def find_worst_state(states: Iterable[HealthState]) -> HealthState:
    """Return the worst of `states`: unhealthy, unknown, degraded, healthy."""
    order = (HealthState.UNHEALTHY, HealthState.UNKNOWN, HealthState.DEGRADED)
    present = set(states)
    return next((state for state in order if state in present), HealthState.HEALTHY)
