"""Keeps what the open pages see up to date: looks around, and publishes what has changed.

Beats come from here too, after a look: a page goes on trusting what it shows only while somebody
looks. While no page is open it looks seldom, only so that "since when" stays true.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from barnabee.api import capabilities, probe_metrics
from barnabee.api.cascade import Cascade, Node
from barnabee.api.event_bus import News, event_text
from barnabee.api.schemas.status import Ability, AlertNow, Need, Now, ProbeNow, RoomNow, ServiceNow
from barnabee.clients.alertmanager import AlertmanagerClient
from barnabee.clients.service_client import ServiceClient
from barnabee.core.errors import BarnabeeError
from barnabee.core.schema import System

TICK_S = 1.0  # rooms: what a conversation does
LOOK_TICKS = 2  # the cascade
BEAT_TICKS = 5  # a page that hears nothing for three of these says so
FIGURE_TICKS = 10  # what changes every few minutes; also how often anything is asked unwatched
LIMIT_S = 2.0
WATCHDOG = "none"  # the severity of an alert that only shows that alerts arrive

Alerts = Callable[[], Awaitable[list[AlertNow] | None]]


def alerts_of(alertmanager: AlertmanagerClient) -> Alerts:
    """Return what asks for the alerts in force, those held back by others left out."""

    async def ask() -> list[AlertNow] | None:
        return [
            AlertNow(
                name=one.name,
                severity=one.labels.get("severity", ""),
                summary=one.annotations.get("summary", ""),
                since_s=one.started.timestamp(),
            )
            for one in await alertmanager.read_alerts()
            if not one.is_suppressed and one.labels.get("severity") != WATCHDOG
        ]

    return ask


@dataclass
class Watch:
    """The looking around; `now` is what was last seen."""

    system: System
    cascade: Cascade
    news: News
    voice: ServiceClient | None
    worker: ServiceClient | None
    alerts: Alerts
    now: Now | None = None
    _rooms: list[RoomNow] | None = None
    _probe: ProbeNow | None = None
    _alerts: list[AlertNow] | None = None
    _woken: asyncio.Event = field(default_factory=asyncio.Event)

    async def run_for_ever(self) -> None:
        """Look until cancelled."""
        tick = 0
        while True:
            await self.step(tick)
            tick += 1 if self.news.heard else FIGURE_TICKS - tick % FIGURE_TICKS
            self._woken.clear()
            try:
                async with asyncio.timeout(TICK_S if self.news.heard else TICK_S * FIGURE_TICKS):
                    await self._woken.wait()
                tick = 0
            except TimeoutError:
                continue

    async def step(self, tick: int) -> None:
        """Look at what is due at this tick, and publish what is new."""
        asked: list[Awaitable[Any]] = [self._look_at_rooms()]
        if tick % LOOK_TICKS == 0:
            asked.append(self.cascade.look())
        if tick % FIGURE_TICKS == 0:
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
            yield event_text("now", self.now)
        async for text in stream:
            yield text

    async def _look_at_rooms(self) -> None:
        if self.voice is None or not self.news.heard:
            return
        try:
            found = await self.voice.request_json("GET", "/v1/rooms", limit_s=LIMIT_S)
            self._rooms = [RoomNow.model_validate(one) for one in found.get("rooms", ())]
        except (BarnabeeError, ValueError):
            self._rooms = None

    async def _look_at_probe(self) -> None:
        if self.worker is None:
            return
        try:
            response = await self.worker.request("GET", "/metrics", limit_s=LIMIT_S)
            last = probe_metrics.probed(response.text) if response.is_success else None
        except (BarnabeeError, ValueError):
            last = None
        self._probe = ProbeNow.model_validate(last) if last else None

    async def _look_at_alerts(self) -> None:
        try:
            self._alerts = await self.alerts()
        except BarnabeeError:  # a house of one machine has no Alertmanager
            self._alerts = None

    def _seen(self) -> Now:
        nodes = self.cascade.nodes
        told = [Ability.model_validate(one) for one in capabilities.abilities(nodes)]
        return Now(
            state=capabilities.worst(one.state for one in capabilities.abilities(nodes)).value,
            abilities=told,
            services=[self._service(name, node) for name, node in nodes.items()],
            rooms=self._rooms,
            probe=self._probe,
            alerts=self._alerts,
            beat_s=BEAT_TICKS * TICK_S,
        )

    def _service(self, name: str, node: Node) -> ServiceNow:
        itself = node.itself
        return ServiceNow(
            name=name,
            summary=self.system.service[name].summary,
            state=itself.state.value,
            good=node.good,
            code=itself.code,
            message=itself.message,
            since_s=itself.since_s,
            needs=[
                Need(
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
