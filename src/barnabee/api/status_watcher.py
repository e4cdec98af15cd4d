"""Keeps what the open pages see up to date: looks around, and publishes what has changed.

Beats come from here too, after a look: a page goes on trusting what it shows only while somebody
looks. While no page is open it looks seldom, only so that "since when" stays true.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from barnabee.api import capabilities
from barnabee.api.cascade import Cascade, ServiceHealth
from barnabee.api.event_bus import EventBus, format_event
from barnabee.api.schemas import CapabilityStatus, AlertStatus, DependencyStatus, StatusResponse, ProbeStatus, RoomStatus, ServiceStatus
from barnabee.clients.alertmanager import AlertmanagerClient
from barnabee.clients.service_client import ServiceClient
from barnabee.core.errors import BarnabeeError
from barnabee.core.schema import System

TICK_S = 1.0  # rooms: what a conversation does
CASCADE_TICKS = 2  # the cascade
BEAT_TICKS = 5  # a page that hears nothing for three of these says so
SLOW_TICKS = 10  # what changes every few minutes; also how often anything is asked unwatched
LIMIT_S = 2.0
WATCHDOG_SEVERITY = "none"  # the severity of an alert that only shows that alerts arrive

AlertReader = Callable[[], Awaitable[list[AlertStatus] | None]]


def make_alert_reader(alertmanager: AlertmanagerClient) -> AlertReader:
    """Return what asks for the alerts in force, those held back by others left out."""

    async def ask() -> list[AlertStatus] | None:
        return [
            AlertStatus(
                name=one.name,
                severity=one.labels.get("severity", ""),
                summary=one.annotations.get("summary", ""),
                since_s=one.started.timestamp(),
            )
            for one in await alertmanager.read_alerts()
            if not one.is_suppressed and one.labels.get("severity") != WATCHDOG_SEVERITY
        ]

    return ask


@dataclass
class StatusWatcher:
    """The looking around; `now` is what was last seen."""

    system: System
    cascade: Cascade
    news: EventBus
    voice: ServiceClient | None
    worker: ServiceClient | None
    alerts: AlertReader
    now: StatusResponse | None = None
    _rooms: list[RoomStatus] | None = None
    _probe: ProbeStatus | None = None
    _alerts: list[AlertStatus] | None = None
    _woken: asyncio.Event = field(default_factory=asyncio.Event)

    async def run_for_ever(self) -> None:
        """Look until cancelled."""
        tick = 0
        while True:
            await self.step(tick)
            tick += 1 if self.news.heard else SLOW_TICKS - tick % SLOW_TICKS
            self._woken.clear()
            try:
                async with asyncio.timeout(TICK_S if self.news.heard else TICK_S * SLOW_TICKS):
                    await self._woken.wait()
                tick = 0
            except TimeoutError:
                continue

    async def step(self, tick: int) -> None:
        """Look at what is due at this tick, and publish what is new."""
        asked: list[Awaitable[Any]] = [self._look_at_rooms()]
        if tick % CASCADE_TICKS == 0:
            asked.append(self.cascade.look())
        if tick % SLOW_TICKS == 0:
            asked += [self._look_at_probe(), self._look_at_alerts()]
        await asyncio.gather(*asked)
        seen = self._seen()
        if seen != self.now:
            self.now = seen
            self.news.publish("now", seen)
        if tick % BEAT_TICKS == 0:
            self.news.publish("beat", {})

    async def listen(self) -> AsyncIterator[bytes]:
        """Return everything as it is, then what changes."""
        stream = await self.news.listen()
        self._woken.set()
        return self._first_then(stream)

    async def _first_then(self, stream: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        if self.now is not None:
            yield format_event("now", self.now)
        async for text in stream:
            yield text

    async def _look_at_rooms(self) -> None:
        if self.voice is None or not self.news.heard:
            return
        try:
            found = await self.voice.request_json("GET", "/v1/rooms", limit_s=LIMIT_S)
            self._rooms = [RoomStatus.model_validate(one) for one in found.get("rooms", ())]
        except (BarnabeeError, ValueError):
            self._rooms = None

    async def _look_at_probe(self) -> None:
        if self.worker is None:
            return
        try:
            response = await self.worker.request("GET", "/metrics", limit_s=LIMIT_S)
            last = parse_probe_metrics(response.text) if response.is_success else None
        except (BarnabeeError, ValueError):
            last = None
        self._probe = ProbeStatus.model_validate(last) if last else None

    async def _look_at_alerts(self) -> None:
        try:
            self._alerts = await self.alerts()
        except BarnabeeError:  # a house of one machine has no Alertmanager
            self._alerts = None

    def _seen(self) -> StatusResponse:
        nodes = self.cascade.nodes
        told = [CapabilityStatus.model_validate(one) for one in capabilities.assess_capabilities(nodes)]
        return StatusResponse(
            state=capabilities.find_worst_state(one.state for one in capabilities.assess_capabilities(nodes)).value,
            abilities=told,
            services=[self._service(name, node) for name, node in nodes.items()],
            rooms=self._rooms,
            probe=self._probe,
            alerts=self._alerts,
            beat_s=BEAT_TICKS * TICK_S,
        )

    def _service(self, name: str, node: ServiceHealth) -> ServiceStatus:
        itself = node.itself
        return ServiceStatus(
            name=name,
            summary=self.system.service[name].summary,
            state=itself.state.value,
            good=node.good,
            code=itself.code,
            message=itself.message,
            since_s=itself.since_s,
            needs=[
                DependencyStatus(
                    name=key,
                    state=one.state.value,
                    hard=one.hard,
                    code=one.code,
                    message=one.message,
                    since_s=one.since_s,
                )
                for key, one in node.needs.items()
            ],
        )


@dataclass(frozen=True, slots=True)
class ProbeReading:
    """What came of the last spoken question; `at_s` in seconds since the epoch."""

    at_s: float
    success: bool
    stages_ms: dict[str, float] = field(default_factory=dict)
    over_budget: list[str] = field(default_factory=list)


def parse_probe_metrics(exposition: str) -> ProbeReading | None:
    """Return the last probe in a worker's metrics; None before the first."""
    at_s, success = 0.0, False
    stages_ms: dict[str, float] = {}
    over: list[str] = []
    for family in text_string_to_metric_families(exposition):
        if not family.name.startswith("barnabee_probe_"):
            continue
        for sample in family.samples:
            stage = sample.labels.get("stage", "")
            if sample.name == "barnabee_probe_timestamp_seconds":
                at_s = sample.value
            elif sample.name == "barnabee_probe_success":
                success = sample.value > 0
            elif sample.name == "barnabee_probe_seconds":
                stages_ms[stage] = round(sample.value * 1000, 1)
            elif sample.name == "barnabee_probe_over_budget" and sample.value > 0:
                over.append(stage)
    return ProbeReading(at_s, success, stages_ms, sorted(over)) if at_s else None
