"""Status watcher: polls the status of all services and publishes changes to the dashboard.

Each poll is followed by a heartbeat event, so that a page trusts its status only while polling
works. Without an open page polling is slow and only keeps the times of state changes correct.

Each subscriber has a bounded queue. One that does not read fast enough is disconnected; it
reconnects and gets the full state again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from prometheus_client.parser import text_string_to_metric_families
from pydantic_core import to_json

from barnabee.api import capabilities
from barnabee.api.cascade import Cascade, ComponentHealth, ServiceHealth
from barnabee.api.schemas import (
    AlertStatus,
    CapabilityStatus,
    DependencyStatus,
    ProbeStatus,
    RoomStatus,
    ServiceStatus,
    StatusResponse,
)
from barnabee.clients.alertmanager import AlertmanagerClient
from barnabee.clients.service_client import ServiceClient
from barnabee.core.errors import BarnabeeError, Overloaded
from barnabee.core.schema import System

MAX_SUBSCRIBERS = 64
MAX_QUEUED_EVENTS = 128
RETRY_AFTER_S = 5
TICK_S = 1.0  # rooms are polled at every tick
CASCADE_TICKS = 2
BEAT_TICKS = 5  # a page reports a lost connection after three missing heartbeats
SLOW_TICKS = 10  # probe and alerts; also the interval of all polls without an open page
REQUEST_LIMIT_S = 2.0
WATCHDOG_SEVERITY = "none"  # of the alert that only shows that alerts are delivered

AlertReader = Callable[[], Awaitable[list[AlertStatus] | None]]


class EventBus:
    """Publishes events to all subscribers without waiting for any of them."""

    def __init__(self) -> None:
        self._queues: set[asyncio.Queue[bytes | None]] = set()
        self._closed = False

    @property
    def has_subscribers(self) -> bool:
        """Whether any page is connected."""
        return bool(self._queues)

    def publish(self, event: str, data: Any) -> None:
        """Queue an event for every subscriber and disconnect those whose queue is full."""
        if not self._queues:
            return
        text = format_event(event, data)
        for queue in list(self._queues):
            if queue.full():
                self._disconnect(queue)
            else:
                queue.put_nowait(text)

    async def subscribe(self) -> AsyncIterator[bytes]:
        """Return the stream of future events; Overloaded at the limit or after `close`."""
        if len(self._queues) >= MAX_SUBSCRIBERS or self._closed:
            raise Overloaded(what="the event stream", retry_after_s=RETRY_AFTER_S)
        queue: asyncio.Queue[bytes | None] = asyncio.Queue(MAX_QUEUED_EVENTS)
        self._queues.add(queue)
        return self._read(queue)

    async def _read(self, queue: asyncio.Queue[bytes | None]) -> AsyncIterator[bytes]:
        try:
            while (text := await queue.get()) is not None:
                yield text
        finally:
            self._queues.discard(queue)

    def close(self) -> None:
        """End all streams and refuse new subscribers."""
        self._closed = True
        for queue in list(self._queues):
            self._disconnect(queue)

    def _disconnect(self, queue: asyncio.Queue[bytes | None]) -> None:
        self._queues.discard(queue)
        while queue.full():
            queue.get_nowait()
        queue.put_nowait(None)


def format_event(event: str, data: Any) -> bytes:
    """Return one server-sent event (WHATWG HTML, 9.2); JSON contains no line break. Pure."""
    return b"event: %s\ndata: %s\n\n" % (event.encode(), to_json(data))


@dataclass(frozen=True, slots=True)
class ProbeReading:
    """Result of the worker's last voice probe; `at_s` in seconds since the epoch."""

    at_s: float
    success: bool
    stages_ms: dict[str, float] = field(default_factory=dict)
    over_budget: list[str] = field(default_factory=list)


def parse_probe_metrics(exposition: str) -> ProbeReading | None:
    """Return the last probe in the worker's Prometheus metrics, None before the first. Pure."""
    at_s, success = 0.0, False
    stages_ms: dict[str, float] = {}
    over_budget: list[str] = []
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
                over_budget.append(stage)
    return ProbeReading(at_s, success, stages_ms, sorted(over_budget)) if at_s else None


def make_alert_reader(alertmanager: AlertmanagerClient) -> AlertReader:
    """Return a function that reads the active alerts, without suppressed ones and the watchdog."""

    async def read() -> list[AlertStatus] | None:
        return [
            AlertStatus(
                name=alert.name,
                severity=alert.labels.get("severity", ""),
                summary=alert.annotations.get("summary", ""),
                since_s=alert.started.timestamp(),
            )
            for alert in await alertmanager.read_alerts()
            if not alert.is_suppressed and alert.labels.get("severity") != WATCHDOG_SEVERITY
        ]

    return read


@dataclass
class StatusWatcher:
    """Polls and publishes; `status` is the result of the last poll."""

    system: System
    cascade: Cascade
    event_bus: EventBus
    voice: ServiceClient | None
    worker: ServiceClient | None
    read_alerts: AlertReader
    status: StatusResponse | None = None
    _rooms: list[RoomStatus] | None = None
    _probe: ProbeStatus | None = None
    _alerts: list[AlertStatus] | None = None
    _page_opened: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Poll until cancelled."""
        tick = 0
        while True:
            await self.poll(tick)
            watched = self.event_bus.has_subscribers
            tick += 1 if watched else SLOW_TICKS - tick % SLOW_TICKS
            self._page_opened.clear()
            try:
                async with asyncio.timeout(TICK_S if watched else TICK_S * SLOW_TICKS):
                    await self._page_opened.wait()
                tick = 0
            except TimeoutError:
                continue

    async def poll(self, tick: int) -> None:
        """Poll what is due at `tick` and publish the status if it changed."""
        due: list[Awaitable[Any]] = [self._poll_rooms()]
        if tick % CASCADE_TICKS == 0:
            due.append(self.cascade.check())
        if tick % SLOW_TICKS == 0:
            due += [self._poll_probe(), self._poll_alerts()]
        await asyncio.gather(*due)
        status = self._make_status()
        if status != self.status:
            self.status = status
            self.event_bus.publish("now", status)
        if tick % BEAT_TICKS == 0:
            self.event_bus.publish("beat", {})

    async def subscribe(self) -> AsyncIterator[bytes]:
        """Return a stream of events: the current status first, then all changes."""
        stream = await self.event_bus.subscribe()
        self._page_opened.set()
        return self._prepend_status(stream)

    async def _prepend_status(self, stream: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        if self.status is not None:
            yield format_event("now", self.status)
        async for text in stream:
            yield text

    async def _poll_rooms(self) -> None:
        if self.voice is None or not self.event_bus.has_subscribers:
            return
        try:
            body = await self.voice.request_json("GET", "/v1/rooms", limit_s=REQUEST_LIMIT_S)
            self._rooms = [RoomStatus.model_validate(room) for room in body.get("rooms", ())]
        except (BarnabeeError, ValueError):
            self._rooms = None

    async def _poll_probe(self) -> None:
        if self.worker is None:
            return
        try:
            response = await self.worker.request("GET", "/metrics", limit_s=REQUEST_LIMIT_S)
            reading = parse_probe_metrics(response.text) if response.is_success else None
        except (BarnabeeError, ValueError):
            reading = None
        self._probe = ProbeStatus.model_validate(reading) if reading else None

    async def _poll_alerts(self) -> None:
        try:
            self._alerts = await self.read_alerts()
        except BarnabeeError:  # a local run has no Alertmanager
            self._alerts = None

    def _make_status(self) -> StatusResponse:
        services = self.cascade.services
        reports = capabilities.assess_capabilities(services)
        return StatusResponse(
            state=capabilities.find_worst_state(report.state for report in reports).value,
            abilities=[CapabilityStatus.model_validate(report) for report in reports],
            services=[self._make_service(name, health) for name, health in services.items()],
            rooms=self._rooms,
            probe=self._probe,
            alerts=self._alerts,
            beat_s=BEAT_TICKS * TICK_S,
        )

    def _make_service(self, name: str, health: ServiceHealth) -> ServiceStatus:
        itself = health.itself
        return ServiceStatus(
            name=name,
            summary=self.system.service[name].summary,
            state=itself.state.value,
            good=health.is_fully_working,
            code=itself.code,
            message=itself.message,
            since_s=itself.since_s,
            needs=[_make_dependency(key, one) for key, one in health.dependencies.items()],
        )


def _make_dependency(name: str, health: ComponentHealth) -> DependencyStatus:
    return DependencyStatus(
        name=name,
        state=health.state.value,
        hard=health.hard,
        code=health.code,
        message=health.message,
        since_s=health.since_s,
    )
