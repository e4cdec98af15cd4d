"""The whole cascade as this api sees it: every service asked again and again, with since when.

Services answer for themselves and for what they depend on. Nothing is remembered but the moment at
which a state began, as seen from here: after a restart of the api that is the restart.
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
from barnabee.core.http import make_report_body
from barnabee.core.redis_client import RedisClient
from barnabee.core.schema import System

LOOK_LIMIT_S = 2.3  # outlasts a health check's own 2 s, so that a service can say what hangs
NOT_CONFIGURED = "not_configured"


@dataclass(frozen=True, slots=True)
class Found:
    """How one thing is; `since` in seconds since the epoch."""

    state: HealthState
    code: str | None = None
    message: str | None = None
    hard: bool = False
    since_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Node:
    """A service and what it depends on."""

    itself: Found
    needs: Mapping[str, Found] = field(default_factory=dict)

    @property
    def good(self) -> bool:
        """Return whether nothing is wrong but what nobody configured."""
        lacking = [one for one in self.needs.values() if one.state != HealthState.HEALTHY]
        return self.itself.state == HealthState.HEALTHY or (
            self.itself.state == HealthState.DEGRADED
            and bool(lacking)
            and all(one.code == NOT_CONFIGURED for one in lacking)
        )


Nodes = Mapping[str, Node]


@dataclass(frozen=True)
class Places:
    """Who is asked, and how: our own report, Redis, and services with a page about their health."""

    own: HealthMonitor
    redis: RedisClient
    neighbours: Mapping[str, ServiceClient]


class Cascade:
    """Looks at everything; `nodes` is what the last look found."""

    def __init__(self, system: System, places: Places, clock: Callable[[], float]) -> None:
        """Know nothing yet."""
        self._system = system
        self._places = places
        self._clock = clock
        self._since: dict[tuple[str, str], tuple[tuple[HealthState, str | None], float]] = {}
        self.nodes: Nodes = {}

    async def look(self) -> Nodes:
        """Ask every service that can be asked; never raises."""
        names = [name for name, one in self._system.service.items() if one.probe != "exit"]
        found = await asyncio.gather(*(self._look(name) for name in names))
        self.nodes = {
            name: self._dated(name, node) for name, node in zip(names, found, strict=True)
        }
        return self.nodes

    async def _look(self, name: str) -> Node:
        own, service = self._places.own, self._system.service[name]
        neighbour = self._places.neighbours.get(name)
        try:
            if name == own.component:
                return node_of(make_report_body(own, await own.report()))
            if service.probe == "redis":
                await self._places.redis.ping()
                return Node(Found(HealthState.HEALTHY))
            if neighbour is not None:
                path = service.health_path
                return node_in(name, await neighbour.request("GET", path, limit_s=LOOK_LIMIT_S))
        except BarnabeeError as error:
            return Node(Found(HealthState.UNHEALTHY, error.code, str(error)))
        return Node(Found(HealthState.UNKNOWN, "not_asked", f"nobody here asks {name}"))

    def _dated(self, name: str, node: Node) -> Node:
        needs = {key: self._since_when((name, key), one) for key, one in node.needs.items()}
        return Node(self._since_when((name, ""), node.itself), needs)

    def _since_when(self, key: tuple[str, str], found: Found) -> Found:
        now = (found.state, found.code)
        before = self._since.get(key)
        if before is None or before[0] != now:
            self._since[key] = before = (now, self._clock())
        return Found(found.state, found.code, found.message, found.hard, before[1])


def node_in(name: str, response: httpx.Response) -> Node:
    """Return what an answer says of a service; one that is no report shows that it runs. Pure."""
    try:
        return node_of(response.json())
    except ValueError:
        if not response.is_error:
            return Node(Found(HealthState.HEALTHY))
        reason = f"{name} answers status {response.status_code}"
        return Node(Found(HealthState.UNHEALTHY, "dependency_down", reason))


def node_of(report: Mapping[str, Any]) -> Node:
    """Return what a service's report says; ValueError when it is none of ours. Pure."""
    try:
        needs = {
            str(name): Found(
                HealthState(one["status"]), one.get("code"), one.get("message"), bool(one.get("hard"))
            )
            for name, one in report["dependencies"].items()
        }
        state = HealthState(report["status"])
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError("no report") from error
    worst = min(
        (one for one in needs.values() if one.state != HealthState.HEALTHY),
        key=lambda one: (not one.hard, one.code == NOT_CONFIGURED),
        default=None,
    )
    if state == HealthState.HEALTHY or worst is None:
        return Node(Found(state), needs)
    return Node(Found(state, worst.code, worst.message), needs)
