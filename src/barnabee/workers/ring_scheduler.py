"""Rings timers, alarms and reminders when they are due.

The database has the truth. A job in the queue is due with each entry; jobs are made again from the
table when the worker starts, every minute, and when a clock was set. An entry whose job is lost,
because Redis is down, is found within a second. What rings is then stated to the voice service
again and again, so that any part may be restarted while it rings.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import structlog

from barnabee.clients.service_client import RingReport, RingRequest
from barnabee.core.errors import BarnabeeError, Misconfigured, Unavailable
from barnabee.store.rings import DueEntries, Ring, RingStore
from barnabee.store.schedule import RING_JOB, Clocks, DueTime, ScheduleStore, to_ms
from barnabee.understanding.schedule_phrases import say_ring

if TYPE_CHECKING:
    from barnabee.clients.queue import JobQueue
    from barnabee.clients.service_client import ServiceClient, VoiceClient
    from barnabee.core.schema import ScheduleConfig
    from barnabee.store.provider import DatabaseProvider
    from barnabee.workers.metrics import ScheduleMetrics

TICK_S = 0.5
REFRESH_EVERY_MS = 60_000
CLOCK_STEP_MS = 500  # a larger difference between the clocks is no drift
OVERDUE = timedelta(milliseconds=500)  # then the job of an entry is lost or delayed
NOTIFY_AFTER = timedelta(seconds=5)  # rooms reconnect to a restarted voice service within this
NOTIFY_AGAIN_MS = 10_000
NOTIFY_LIMIT_S = 3.0

log = structlog.get_logger()


@dataclass(frozen=True)
class RingTargets:
    """Where entries ring: the voice service, and through the api Home Assistant's notifications."""

    voice: VoiceClient | None
    api: ServiceClient


class RingScheduler:
    """Begins, states and ends rings; one in each worker."""

    def __init__(
        self,
        provider: DatabaseProvider,
        queue: JobQueue,
        targets: RingTargets,
        config: ScheduleConfig,
        metrics: ScheduleMetrics,
        clocks: Clocks | None = None,
    ) -> None:
        self._provider, self._queue, self._targets = provider, queue, targets
        self._config, self._metrics, self._clocks = config, metrics, clocks or Clocks()
        self._wake = asyncio.Event()
        self._refresh_at_ms = 0
        self._offset_ms: int | None = None  # of the wall clock from the time since boot
        self._was_stated = True  # the voice may still have rings of an earlier process
        self._notify_at_ms = 0
        self._problems: set[str] = set()  # of this round,
        self._logged: set[str] = set()  # and of the last one

    async def run_for_ever(self) -> None:
        """Ring until cancelled."""
        while True:
            self._wake.clear()
            try:
                await self.step()
            except (Unavailable, Misconfigured, OSError) as error:
                self._report(error)
            except Exception:  # a supervisor: a bug must not silence all later alarms
                log.exception("ring_scheduler_broken", code=BarnabeeError.code)
            self._logged, self._problems = self._problems, set()
            with suppress(TimeoutError):
                async with asyncio.timeout(TICK_S):
                    await self._wake.wait()

    async def ring_due(self) -> None:
        """Let every entry ring that is due now; run by the jobs."""
        self._count(await (await self._rings()).begin_due())
        self._wake.set()

    async def step(self) -> None:
        """Do what is due now."""
        database = await self._provider.database()
        if self._must_refresh():
            await self._enqueue(await ScheduleStore(database, self._clocks).refresh())
        rings = await self._rings()
        self._count(await rings.begin_due(overdue=OVERDUE))
        ringing = await rings.ringing()
        if ringing or self._was_stated:
            await self._state(rings, ringing)
        missed = await rings.end_old(timedelta(seconds=self._config.ring_for_s))
        self._count(DueEntries(missed=missed), are_new=False)

    async def _rings(self) -> RingStore:
        return RingStore(
            await self._provider.database(),
            self._clocks,
            late=timedelta(seconds=self._config.late_s),
            too_late=timedelta(seconds=self._config.too_late_s),
        )

    def _must_refresh(self) -> bool:
        boot_ms = self._clocks.boot_time_ms()
        offset_ms = to_ms(self._clocks.wall()) - boot_ms
        was_set = self._offset_ms is None or abs(offset_ms - self._offset_ms) > CLOCK_STEP_MS
        self._offset_ms = offset_ms
        if was_set:
            self._refresh_at_ms = 0  # and again, until it succeeds
        return boot_ms >= self._refresh_at_ms

    async def _enqueue(self, pending: Sequence[DueTime]) -> None:
        """Make the jobs of all entries that have none."""
        try:
            await self._queue.defer(RING_JOB, pending)
        except Unavailable as error:  # `begin_due` finds them without the queue
            self._report(error)
        self._refresh_at_ms = self._clocks.boot_time_ms() + REFRESH_EVERY_MS

    async def _state(self, store: RingStore, ringing: Sequence[Ring]) -> None:
        """State to the voice service what rings, and record what it says of it."""
        has_rooms = False
        try:
            report = await self._set_rings(ringing)
        except Unavailable as error:
            self._report(error)
        else:
            self._was_stated, has_rooms = bool(ringing), bool(report and report.rooms)
            if report is not None:
                await self._record(store, ringing, report)
        if not has_rooms:
            await self._notify(store, ringing)
        self._measure(await store.ringing())

    async def _set_rings(self, ringing: Sequence[Ring]) -> RingReport | None:
        if self._targets.voice is None:
            return None
        ring_for = timedelta(seconds=self._config.ring_for_s)
        requests = [
            RingRequest(
                ring_id=ring.ring_id,
                text=say_ring(ring.entry, was_late=ring.was_late),
                room=ring.entry.room,
                until=(ring.rang_at + ring_for).timestamp(),
            )
            for ring in ringing
        ]
        return await self._targets.voice.set_rings(requests)

    async def _record(self, store: RingStore, ringing: Sequence[Ring], report: RingReport) -> None:
        known = {ring.ring_id: ring for ring in ringing}
        sounded = {
            ring_id: status.sounded_at
            for ring_id, status in report.rings.items()
            if status.sounded_at and ring_id in known and known[ring_id].sounded_at is None
        }
        silenced = [name for name, status in report.rings.items() if status.is_silenced]
        await store.record(sounded=sounded, silenced=silenced)
        for ring_id, at in sounded.items():
            entry = known[ring_id].entry
            self._metrics.rung.labels(entry.kind).inc()
            late_s = max(0.0, (at - entry.due).total_seconds())
            self._metrics.late_s.observe(late_s)
            log.info("rang", ring_id=ring_id, room=entry.room, late_ms=round(late_s * 1000))

    async def _notify(self, store: RingStore, ringing: Sequence[Ring]) -> None:
        """Tell Home Assistant what rings while no room is connected."""
        boot_ms = self._clocks.boot_time_ms()
        since = self._clocks.wall() - NOTIFY_AFTER
        waiting = [ring for ring in ringing if _is_unheard(ring) and ring.rang_at <= since]
        if not waiting or boot_ms < self._notify_at_ms:
            return
        self._notify_at_ms = boot_ms + NOTIFY_AGAIN_MS
        for ring in waiting:
            body = {
                "notification_id": f"barnabee_{ring.ring_id}".replace(".", "_"),
                "message": say_ring(ring.entry, was_late=ring.was_late),
            }
            try:
                await self._targets.api.request_json(
                    "POST", "/v1/notifications", limit_s=NOTIFY_LIMIT_S, json=body
                )
            except BarnabeeError as error:
                self._report(error)
                return
            await store.record(notified=[ring.ring_id])
            self._metrics.notified.labels(ring.entry.kind).inc()

    def _count(self, due: DueEntries, *, are_new: bool = True) -> None:
        for ring in due.ringing:
            self._metrics.due.labels(ring.entry.kind).inc()
        for entry in due.missed:
            if are_new:
                self._metrics.due.labels(entry.kind).inc()
            self._metrics.missed.labels(entry.kind).inc()
            log.warning("ring_missed", kind=entry.kind, room=entry.room)

    def _measure(self, ringing: Sequence[Ring]) -> None:
        now = self._clocks.wall()
        waits_s = [_waiting_s(ring, now) for ring in ringing if _is_unheard(ring)]
        self._metrics.unheard_s.set(max(waits_s, default=0.0))

    def _report(self, error: Exception) -> None:
        problem = str(error)
        if problem not in self._logged | self._problems:  # once per outage, not twice a second
            code = error.code if isinstance(error, BarnabeeError) else "unavailable"
            log.warning("ringing_impaired", code=code, reason=problem)
        self._problems.add(problem)


def _is_unheard(ring: Ring) -> bool:
    return ring.sounded_at is None and ring.notified_at is None


def _waiting_s(ring: Ring, now: datetime) -> float:
    return max(0.0, (now - ring.rang_at).total_seconds())
