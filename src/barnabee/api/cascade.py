"""Health cascade: the state of every service and of its dependencies, and since when it holds.

Services report their own health. Only the time of the last change of state is stored, as seen by
this process: after a restart of the api it starts again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from barnabee.clients.service_client import ServiceClient
from barnabee.core.errors import BarnabeeError
from barnabee.core.health import HealthMonitor, HealthState
from barnabee.core.redis_client import RedisClient
from barnabee.core.schema import System

CHECK_LIMIT_S = 2.3  # longer than a health check's own 2 s, so that a service can report what hangs
NOT_CONFIGURED = "not_configured"


@dataclass(frozen=True, slots=True)
class ComponentHealth:
    """Health of a service or dependency; `since_s` in seconds since the epoch."""

    state: HealthState
    code: str | None = None
    message: str | None = None
    hard: bool = False
    since_s: float = 0.0


@dataclass(frozen=True, slots=True)
class ServiceHealth:
    """Health of a service and of its dependencies."""

    itself: ComponentHealth
    dependencies: Mapping[str, ComponentHealth] = field(default_factory=dict)

    @property
    def is_fully_working(self) -> bool:
        """Whether every dependency that is not healthy is one that is not configured."""
        impaired = [one for one in self.dependencies.values() if one.state != HealthState.HEALTHY]
        return self.itself.state == HealthState.HEALTHY or (
            self.itself.state == HealthState.DEGRADED
            and bool(impaired)
            and all(one.code == NOT_CONFIGURED for one in impaired)
        )


HealthByService = Mapping[str, ServiceHealth]


@dataclass(frozen=True)
class HealthSources:
    """Where health is read: this process' monitor, Redis, and services with a health route."""

    own: HealthMonitor
    redis: RedisClient
    clients: Mapping[str, ServiceClient]


class Cascade:
    """Checks all services concurrently; `services` is the result of the last check."""

    def __init__(self, system: System, sources: HealthSources, clock: Callable[[], float]) -> None:
        self._system = system
        self._sources = sources
        self._clock = clock
        self._since: dict[tuple[str, str], tuple[tuple[HealthState, str | None], float]] = {}
        self.services: HealthByService = {}

    async def check(self) -> HealthByService:
        """Check every long-running service. Never raises."""
        names = [name for name, config in self._system.service.items() if config.probe != "exit"]
        results = await asyncio.gather(*(self._check_service(name) for name in names))
        self.services = {
            name: self._add_since(name, health) for name, health in zip(names, results, strict=True)
        }
        return self.services

    async def _check_service(self, name: str) -> ServiceHealth:
        own, config = self._sources.own, self._system.service[name]
        client = self._sources.clients.get(name)
        try:
            if name == own.component:
                return parse_health_report(own.make_body(await own.report()))
            if config.probe == "redis":
                await self._sources.redis.ping()
                return ServiceHealth(ComponentHealth(HealthState.HEALTHY))
            if client is not None:
                response = await client.request("GET", config.health_path, limit_s=CHECK_LIMIT_S)
                return parse_health_response(name, response)
        except BarnabeeError as error:
            return ServiceHealth(ComponentHealth(HealthState.UNHEALTHY, error.code, str(error)))
        message = f"{name} has no health check here"
        return ServiceHealth(ComponentHealth(HealthState.UNKNOWN, "not_asked", message))

    def _add_since(self, name: str, health: ServiceHealth) -> ServiceHealth:
        dependencies = {
            key: self._with_since((name, key), one) for key, one in health.dependencies.items()
        }
        return ServiceHealth(self._with_since((name, ""), health.itself), dependencies)

    def _with_since(self, key: tuple[str, str], health: ComponentHealth) -> ComponentHealth:
        current = (health.state, health.code)
        before = self._since.get(key)
        if before is None or before[0] != current:
            self._since[key] = before = (current, self._clock())
        return ComponentHealth(health.state, health.code, health.message, health.hard, before[1])


def parse_health_response(name: str, response: httpx.Response) -> ServiceHealth:
    """Return the health in `response`; a success without a report counts as healthy. Pure."""
    try:
        return parse_health_report(response.json())
    except ValueError:
        if not response.is_error:
            return ServiceHealth(ComponentHealth(HealthState.HEALTHY))
        reason = f"{name} answers status {response.status_code}"
        return ServiceHealth(ComponentHealth(HealthState.UNHEALTHY, "dependency_down", reason))


def parse_health_report(report: Mapping[str, Any]) -> ServiceHealth:
    """Return the health in the body of `/health/ready`; ValueError for another format. Pure.

    Code and message are those of the worst dependency: hard before soft, and dependencies that are
    not configured last.
    """
    try:
        dependencies = {
            str(name): ComponentHealth(
                HealthState(one["status"]),
                one.get("code"),
                one.get("message"),
                bool(one.get("hard")),
            )
            for name, one in report["dependencies"].items()
        }
        state = HealthState(report["status"])
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError("no health report") from error
    worst = min(
        (one for one in dependencies.values() if one.state != HealthState.HEALTHY),
        key=lambda one: (not one.hard, one.code == NOT_CONFIGURED),
        default=None,
    )
    if state == HealthState.HEALTHY or worst is None:
        return ServiceHealth(ComponentHealth(state), dependencies)
    return ServiceHealth(ComponentHealth(state, worst.code, worst.message), dependencies)
