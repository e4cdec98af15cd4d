"""Schedule of commands: what is stored, queued and reported."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from barnabee.api import assistant as schedule_module
from barnabee.api.assistant import DatabaseSchedule, make_zone_reader
from barnabee.clients.queue import JobQueue
from barnabee.core import system
from barnabee.core.errors import DependencyDown
from barnabee.store.provider import DatabaseProvider
from barnabee.store.rings import RingStore
from support.home import FakeHome
from support.redis import RedisServer
from support.schedule import make_alarm, make_timer
from support.wait import eventually

SOON = timedelta(minutes=5)


@pytest.fixture
async def provider(tmp_path: Path) -> AsyncIterator[DatabaseProvider]:
    provider = DatabaseProvider(tmp_path / "barnabee.db", before_migration=None)
    yield provider
    await provider.close()


async def test_an_entry_has_a_job_that_is_due_with_it(
    provider: DatabaseProvider, tmp_path: Path
) -> None:
    redis = RedisServer(tmp_path / "redis")
    redis.start()
    queue = JobQueue(redis.url)
    schedule = DatabaseSchedule(provider, queue, system.load_system().schedule)
    timer = make_timer(due=datetime.now(UTC) + SOON)
    await schedule.save(timer)
    [(job, score)] = await queue._link.zrange("arq:queue", 0, -1, withscores=True)
    assert job.decode().startswith("ring-pasta-")
    assert int(score) == round(timer.due.timestamp() * 1000)

    redis.kill()
    await schedule.save(make_timer("tea", due=datetime.now(UTC) + SOON))
    assert [entry.entry_id for entry in await schedule.entries()] == ["pasta", "tea"]
    await queue.aclose()


async def test_what_was_missed_is_told_once_in_its_room(provider: DatabaseProvider) -> None:
    queue = JobQueue("redis://127.0.0.1:1/0")
    schedule = DatabaseSchedule(provider, queue, system.load_system().schedule)
    late = datetime(2026, 1, 5, 18, 10, tzinfo=ZoneInfo("Europe/Berlin"))
    await schedule.save(make_timer(due=late))
    await schedule.save(make_alarm("nap", due=late, room="attic"))
    await RingStore(await provider.database()).begin_due()
    assert await schedule.take_missed("kitchen") == (
        "By the way, you missed your pasta timer at 6:10 PM."
    )
    assert await schedule.take_missed("kitchen") == ""
    assert "your alarm at 6:10 PM" in await schedule.take_missed(None)


async def test_commands_at_the_same_time_share_one_look_for_what_was_missed(
    provider: DatabaseProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    schedule = DatabaseSchedule(
        provider, JobQueue("redis://127.0.0.1:1/0"), system.load_system().schedule
    )
    looks: list[object] = []
    has_missed = RingStore.has_missed

    async def look(rings: RingStore) -> bool:
        looks.append(rings)
        return await has_missed(rings)

    monkeypatch.setattr(RingStore, "has_missed", look)
    assert await asyncio.gather(*map(schedule.take_missed, ["kitchen"] * 20)) == [""] * 20
    assert len(looks) == 1
    late = datetime(2026, 1, 5, 18, 10, tzinfo=UTC)
    await schedule.save(make_timer(due=late))
    await RingStore(await provider.database()).begin_due()
    told = await asyncio.gather(*map(schedule.take_missed, ["kitchen"] * 20))
    assert len([text for text in told if text]) == 1


async def test_alarms_follow_the_time_zone_of_the_home(
    provider: DatabaseProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule_module, "ZONE_CHECK_EVERY_S", 0.01)
    queue = JobQueue("redis://127.0.0.1:1/0")
    schedule = DatabaseSchedule(provider, queue, system.load_system().schedule)
    berlin, tokyo = ZoneInfo("Europe/Berlin"), ZoneInfo("Asia/Tokyo")
    seven = datetime(2040, 1, 5, 7, 0, tzinfo=berlin)
    await schedule.save(make_alarm(due=seven))
    zones = {"now": berlin, "is_known": True}

    async def read_zone() -> str:
        if not zones["is_known"]:
            raise DependencyDown(dependency="home_assistant", reason="stopped by the test")
        return str(zones["now"])

    following = asyncio.create_task(schedule.follow_time_zone(read_zone))
    zones["now"] = tokyo

    async def has_moved() -> bool:
        return (await schedule.entries())[0].due == seven.replace(tzinfo=tokyo)

    await eventually(has_moved)
    zones["is_known"] = False
    await asyncio.sleep(0)
    assert await has_moved()
    following.cancel()


async def test_the_zone_of_the_home_goes_before_that_of_the_machine() -> None:
    def clock(zone: str | None) -> datetime:
        return datetime.now(ZoneInfo(zone or "Europe/Berlin"))

    home = FakeHome()
    home.time_zone = "America/New_York"
    assert await make_zone_reader(clock, home)() == "America/New_York"
    assert await make_zone_reader(clock, None)() == "Europe/Berlin"
