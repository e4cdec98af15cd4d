"""Ring scheduler: with the clocks of the test, a real database, and a fake voice service."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from barnabee.clients.queue import DeferredJob, JobQueue
from barnabee.clients.service_client import (
    RingReport,
    RingRequest,
    RingStatus,
    ServiceClient,
    VoiceClient,
)
from barnabee.core import system
from barnabee.core.errors import DependencyDown
from barnabee.core.metrics import Metrics
from barnabee.store.provider import DatabaseProvider
from barnabee.store.rings import RingStore
from barnabee.store.schedule import ScheduleStore
from barnabee.workers.metrics import ScheduleMetrics
from barnabee.workers.ring_scheduler import RingScheduler, RingTargets
from support.schedule import NOW, FakeMachine, make_timer

CONFIG = system.load_system().schedule


@dataclass
class FakeVoice:
    """A voice service whose rooms ring at once; `down` refuses all requests."""

    machine: FakeMachine
    rooms: list[str] = field(default_factory=lambda: ["kitchen"])
    down: bool = False
    silenced: set[str] = field(default_factory=set)
    sounded: dict[str, datetime] = field(default_factory=dict)
    stated: list[RingRequest] = field(default_factory=list)

    async def set_rings(self, rings: Collection[RingRequest]) -> RingReport:
        if self.down:
            raise DependencyDown(dependency="voice", reason="stopped by the test")
        self.stated = list(rings)
        for ring in rings if self.rooms else ():
            self.sounded.setdefault(ring.ring_id, self.machine.now)
        report = {
            ring.ring_id: RingStatus(self.sounded.get(ring.ring_id), ring.ring_id in self.silenced)
            for ring in rings
        }
        return RingReport(self.rooms, report)


@dataclass
class FakeQueue:
    """Remembers the jobs; `down` refuses them."""

    jobs: dict[str, int] = field(default_factory=dict)
    down: bool = False

    async def defer(self, job: str, deferred: Sequence[DeferredJob]) -> None:
        if self.down:
            raise DependencyDown(dependency="redis", reason="stopped by the test")
        assert job == "ring_due"
        self.jobs |= {one.job_id: one.due_ms for one in deferred}


@dataclass
class FakeApi:
    """Remembers the notifications; `down` refuses them."""

    messages: list[str] = field(default_factory=list)
    down: bool = False

    async def request_json(self, _method: str, path: str, *, limit_s: float, json: Any) -> Any:
        assert path == "/v1/notifications"
        if self.down:
            raise DependencyDown(dependency="api", reason="stopped by the test")
        self.messages.append(json["message"])
        return {}


class Parts:
    def __init__(self, directory: Path) -> None:
        self.machine = FakeMachine()
        self.voice, self.queue, self.api = FakeVoice(self.machine), FakeQueue(), FakeApi()
        self.provider = DatabaseProvider(directory / "barnabee.db", before_migration=None)
        self.metrics = Metrics("worker")
        self.series = ScheduleMetrics.register(self.metrics)
        self.scheduler = self.make_scheduler()

    def make_scheduler(self) -> RingScheduler:
        return RingScheduler(
            self.provider,
            cast(JobQueue, self.queue),
            RingTargets(cast(VoiceClient, self.voice), cast(ServiceClient, self.api)),
            CONFIG,
            self.series,
            self.machine.clocks,
        )

    async def schedule(self) -> ScheduleStore:
        return ScheduleStore(await self.provider.database(), self.machine.clocks)

    async def let_ring(self, **fields: Any) -> None:
        """Save a timer, and let its job run when it is due."""
        await (await self.schedule()).save(make_timer(**fields))
        self.machine.advance(minutes=10)
        await self.scheduler.ring_due()
        await self.scheduler.step()

    def metric(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(f"barnabee_schedule_{name}", labels) or 0.0


@pytest.fixture
async def parts(tmp_path: Path) -> AsyncIterator[Parts]:
    parts = Parts(tmp_path)
    yield parts
    await parts.provider.close()


async def test_a_due_timer_rings_and_is_stated_until_somebody_reacts(parts: Parts) -> None:
    await parts.let_ring()
    [ring] = parts.voice.stated
    assert (ring.room, ring.text) == ("kitchen", "Your pasta timer is done.")
    assert ring.until == (parts.machine.now + timedelta(seconds=CONFIG.ring_for_s)).timestamp()
    parts.voice.stated = []
    await parts.scheduler.step()
    assert parts.voice.stated == [ring]

    parts.voice.silenced = {ring.ring_id}
    await parts.scheduler.step()
    await parts.scheduler.step()
    assert parts.voice.stated == []
    assert parts.metric("due_total", kind="timer") == 1
    assert parts.metric("rung_total", kind="timer") == 1
    assert parts.metric("late_seconds_bucket", le="0.1") == 1


async def test_a_new_scheduler_goes_on_with_what_rings(parts: Parts) -> None:
    await parts.let_ring()
    [ring] = parts.voice.stated
    parts.voice.sounded.clear()  # both were restarted
    parts.scheduler = parts.make_scheduler()
    await parts.scheduler.step()
    assert parts.voice.stated == [ring]
    assert parts.metric("rung_total", kind="timer") == 1


async def test_a_timer_whose_job_is_lost_rings_all_the_same(parts: Parts) -> None:
    parts.queue.down = True
    await (await parts.schedule()).save(make_timer())
    parts.machine.advance(minutes=10)
    await parts.scheduler.step()
    assert parts.voice.stated == []
    parts.machine.advance(seconds=0.5)
    await parts.scheduler.step()
    assert len(parts.voice.stated) == 1


async def test_jobs_are_made_when_it_starts_and_when_the_clock_is_set(parts: Parts) -> None:
    await (await parts.schedule()).save(make_timer())
    due_ms = round((NOW + timedelta(minutes=10)).timestamp() * 1000)
    await parts.scheduler.step()
    assert parts.queue.jobs == {f"ring-pasta-{due_ms}": due_ms}
    parts.queue.jobs.clear()
    parts.machine.advance(seconds=30)
    await parts.scheduler.step()
    assert parts.queue.jobs == {}
    parts.machine.set_wall_clock(hours=1)
    await parts.scheduler.step()
    assert parts.queue.jobs == {f"ring-pasta-{due_ms + 3_600_000}": due_ms + 3_600_000}
    parts.queue.jobs.clear()
    parts.machine.advance(minutes=1)
    await parts.scheduler.step()
    assert len(parts.queue.jobs) == 1


async def test_home_assistant_is_notified_once_while_no_room_is_connected(parts: Parts) -> None:
    parts.voice.rooms, parts.api.down = [], True
    await parts.let_ring()
    parts.machine.advance(seconds=4)
    await parts.scheduler.step()
    assert parts.api.messages == []
    parts.machine.advance(seconds=2)
    await parts.scheduler.step()
    parts.api.down = False
    parts.machine.advance(seconds=11)
    await parts.scheduler.step()
    parts.machine.advance(seconds=11)
    await parts.scheduler.step()
    assert parts.api.messages == ["Your pasta timer is done."]
    assert parts.metric("notified_total", kind="timer") == 1
    assert parts.metric("rung_total", kind="timer") == 0
    parts.voice.rooms = ["attic"]
    await parts.scheduler.step()
    assert len(parts.voice.stated) == 1
    assert parts.metric("rung_total", kind="timer") == 1


async def test_a_ring_waits_for_a_voice_service_that_is_down(parts: Parts) -> None:
    parts.voice.down = True
    await parts.let_ring()
    parts.machine.advance(seconds=3)
    await parts.scheduler.step()
    assert parts.metric("unheard_seconds") == 3
    parts.voice.down = False
    await parts.scheduler.step()
    assert len(parts.voice.stated) == 1
    assert parts.metric("unheard_seconds") == 0
    assert parts.api.messages == []


async def test_a_ring_that_nobody_stops_is_missed(parts: Parts) -> None:
    await parts.let_ring()
    parts.machine.advance(seconds=CONFIG.ring_for_s + 1)
    await parts.scheduler.step()
    await parts.scheduler.step()
    assert parts.voice.stated == []
    assert parts.metric("missed_total", kind="timer") == 1
    rings = RingStore(await parts.provider.database(), parts.machine.clocks)
    assert [entry.entry_id for entry in await rings.take_missed("kitchen")] == ["pasta"]


async def test_after_an_outage_a_ring_says_that_it_is_late(parts: Parts) -> None:
    await (await parts.schedule()).save(make_timer())
    parts.machine.advance(minutes=10)
    parts.machine.reboot(minutes=20)
    await parts.scheduler.step()
    assert [ring.text for ring in parts.voice.stated] == [
        "While I was away, your pasta timer ended at 6:10 PM."
    ]
