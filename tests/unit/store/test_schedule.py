"""Entries of the schedule and their rings, in a real database with clocks of the test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from barnabee.store.db import Database, open_database
from barnabee.store.rings import RingStore
from barnabee.store.schedule import DueTime, ScheduleStore, find_next_repeat, resolve_local
from support.schedule import BERLIN, NOW, FakeMachine, make_alarm, make_timer

WEEKDAYS = frozenset(range(5))
RING_FOR = timedelta(minutes=5)


class Parts:
    def __init__(self, database: Database) -> None:
        self.database = database
        self.machine = FakeMachine()
        self.schedule = ScheduleStore(database, self.machine.clocks)
        self.rings = RingStore(database, self.machine.clocks)

    async def ring_ids(self) -> list[str]:
        return [ring.entry.entry_id for ring in await self.rings.ringing()]

    async def due(self) -> datetime:
        [entry] = await self.schedule.entries()
        return entry.due


@pytest.fixture
async def parts(tmp_path: Path) -> AsyncIterator[Parts]:
    database = await open_database(tmp_path / "barnabee.db")
    yield Parts(database)
    await database.close()


async def test_an_entry_comes_back_as_it_was_saved(parts: Parts) -> None:
    timer = make_timer(speaker="Mia", state="paused", remaining=timedelta(seconds=90))
    alarm = make_alarm(due=NOW + timedelta(days=1), weekdays=WEEKDAYS, label="school")
    await parts.schedule.save(alarm)
    await parts.schedule.save(timer)

    assert await parts.schedule.entries() == [timer, alarm]
    assert (await parts.schedule.entries())[1].due.tzinfo is BERLIN
    await parts.schedule.save(make_timer(minutes=3))
    assert await parts.schedule.entries() == [make_timer(minutes=3), alarm]
    assert await parts.schedule.cancel("pasta")
    assert not await parts.schedule.cancel("pasta")


async def test_each_due_entry_rings_once_whoever_looks(parts: Parts) -> None:
    for number in range(20):
        await parts.schedule.save(make_timer(f"timer-{number}"))
    await parts.schedule.save(make_timer("later", minutes=20))
    parts.machine.advance(minutes=10)

    begun = await asyncio.gather(*(parts.rings.begin_due() for _ in range(5)))

    ids = [ring.entry.entry_id for found in begun for ring in found.ringing]
    assert sorted(ids) == sorted(f"timer-{number}" for number in range(20))
    assert len(await parts.rings.ringing()) == 20


async def test_a_stopped_timer_is_gone_and_what_rings_elsewhere_goes_on(parts: Parts) -> None:
    await parts.schedule.save(make_timer("pasta"))
    await parts.schedule.save(make_timer("laundry", room="attic"))
    parts.machine.advance(minutes=10)
    await parts.rings.begin_due()

    assert [entry.entry_id for entry in await parts.rings.stop("kitchen")] == ["pasta"]
    assert await parts.ring_ids() == ["laundry"]
    assert [entry.entry_id for entry in await parts.rings.stop("kitchen")] == ["laundry"]
    assert await parts.rings.stop(None) == []
    assert await parts.schedule.entries() == []


async def test_a_reaction_silences_a_ring_and_it_can_still_be_snoozed(parts: Parts) -> None:
    await parts.schedule.save(make_timer())
    parts.machine.advance(minutes=10)
    [ring] = (await parts.rings.begin_due()).ringing
    await parts.rings.record(sounded={ring.ring_id: parts.machine.now}, silenced=[ring.ring_id])

    assert await parts.ring_ids() == []
    assert await parts.schedule.entries() == []
    parts.machine.advance(seconds=30)
    await parts.rings.end_old(RING_FOR)
    assert [entry.entry_id for entry in await parts.rings.stop("kitchen")] == ["pasta"]

    await parts.schedule.save(make_timer())
    await parts.rings.begin_due()
    await parts.rings.record(silenced=[ring.ring_id])
    parts.machine.advance(minutes=2)
    assert await parts.rings.end_old(RING_FOR) == []
    assert await parts.rings.stop("kitchen") == []


async def test_a_ring_that_nobody_stops_is_missed_and_told_once(parts: Parts) -> None:
    await parts.schedule.save(make_timer())
    parts.machine.advance(minutes=10)
    await parts.rings.begin_due()
    parts.machine.advance(minutes=4)
    assert await parts.rings.end_old(RING_FOR) == []
    parts.machine.advance(minutes=2)
    assert [entry.state for entry in await parts.rings.end_old(RING_FOR)] == ["missed"]

    assert [entry.state for entry in await parts.schedule.entries()] == ["missed"]
    assert await parts.rings.take_missed("attic") == []
    assert [entry.entry_id for entry in await parts.rings.take_missed("kitchen")] == ["pasta"]
    assert await parts.rings.take_missed("kitchen") == []


@pytest.mark.parametrize(
    ("minutes_off", "is_late", "rings"), [(0.5, False, True), (30, True, True), (120, False, False)]
)
async def test_what_was_due_while_the_machine_was_off_rings_late_or_is_missed(
    parts: Parts, minutes_off: float, *, is_late: bool, rings: bool
) -> None:
    await parts.schedule.save(make_timer())
    parts.machine.advance(minutes=10)
    parts.machine.reboot(minutes=minutes_off)

    due = await parts.rings.begin_due()

    assert [ring.was_late for ring in due.ringing] == ([is_late] if rings else [])
    assert [entry.entry_id for entry in due.missed] == ([] if rings else ["pasta"])


@pytest.mark.parametrize("hours", [1.0, -1.0])
async def test_setting_the_clock_does_not_change_when_a_timer_rings(
    parts: Parts, hours: float
) -> None:
    await parts.schedule.save(make_timer())
    parts.machine.advance(minutes=4)
    parts.machine.set_wall_clock(hours=hours)
    assert not (await parts.rings.begin_due()).ringing

    [due] = await parts.schedule.refresh()
    expected = NOW + timedelta(minutes=10, hours=hours)
    assert due == DueTime("pasta", round(expected.timestamp() * 1000))
    parts.machine.advance(minutes=5, seconds=59)
    assert not (await parts.rings.begin_due()).ringing
    parts.machine.advance(seconds=1)
    assert len((await parts.rings.begin_due()).ringing) == 1


async def test_an_alarm_follows_the_wall_clock_and_rings_once_if_it_is_set_back(
    parts: Parts,
) -> None:
    seven = datetime(2026, 3, 28, 7, tzinfo=BERLIN)
    await parts.schedule.save(make_alarm("once", due=seven))
    await parts.schedule.save(make_alarm("daily", due=seven, weekdays=frozenset(range(7))))
    parts.machine.set_wall_clock(hours=13)
    assert len((await parts.rings.begin_due()).ringing) == 2
    await parts.rings.stop(None)
    parts.machine.set_wall_clock(hours=-1)
    await parts.schedule.refresh()
    parts.machine.advance(hours=1, minutes=1)

    assert not (await parts.rings.begin_due()).ringing
    assert await parts.due() == datetime(2026, 3, 29, 7, tzinfo=BERLIN)


async def test_a_repeated_alarm_keeps_its_time_over_the_change_to_summer_time(
    parts: Parts,
) -> None:
    for hour, expected in ((7, "05:00"), (2, "00:30")):
        first = datetime(2026, 3, 28, hour, 30 if hour == 2 else 0, tzinfo=BERLIN)
        await parts.schedule.save(make_alarm(due=first, weekdays=frozenset(range(7))))
        parts.machine.now = first.astimezone(UTC)
        for day in (29, 30):
            await parts.rings.begin_due()
            assert len(await parts.rings.stop(None)) == 1
            due = await parts.due()
            assert due.date().day == day
            parts.machine.now = due.astimezone(UTC)
        assert due.astimezone(UTC).strftime("%H:%M") == expected


async def test_alarms_move_with_the_time_zone_of_the_home_and_timers_do_not(parts: Parts) -> None:
    await parts.schedule.save(make_timer())
    await parts.schedule.save(make_alarm(due=datetime(2026, 3, 28, 7, tzinfo=BERLIN)))
    assert await parts.schedule.move_to_time_zone("Europe/London")
    assert not await parts.schedule.move_to_time_zone("Europe/London")

    timer, alarm = await parts.schedule.entries()
    assert timer.due == NOW + timedelta(minutes=10)
    assert alarm.due == datetime(2026, 3, 28, 7, tzinfo=ZoneInfo("Europe/London"))


async def test_a_missed_repeated_alarm_is_told_and_due_again(parts: Parts) -> None:
    friday = datetime(2026, 3, 27, 19, tzinfo=BERLIN)
    await parts.schedule.save(make_alarm(due=friday, weekdays=WEEKDAYS))
    parts.machine.advance(days=1)
    assert len((await parts.rings.begin_due()).missed) == 1

    missed, again = await parts.schedule.entries()
    assert (missed.state, missed.due, missed.weekdays) == ("missed", friday, frozenset())
    assert (again.state, again.due) == ("pending", datetime(2026, 3, 30, 19, tzinfo=BERLIN))


@given(st.datetimes(), st.sets(st.integers(0, 6), min_size=1))
def test_the_next_repeat_is_the_first_of_its_weekdays(local: datetime, days: set[int]) -> None:
    assume(local.year < 9999)
    following = find_next_repeat(local, frozenset(days))
    between = [local + timedelta(days=day) for day in range(1, (following - local).days)]
    assert following.time() == local.time()
    assert following.weekday() in days
    assert local < following <= local + timedelta(days=7)
    assert not [day for day in between if day.weekday() in days]


def test_a_time_that_summer_time_skips_and_one_that_comes_twice() -> None:
    assert resolve_local(datetime.fromisoformat("2026-03-29T02:30"), "Europe/Berlin").hour == 1
    assert resolve_local(datetime.fromisoformat("2026-10-25T02:30"), "Europe/Berlin").hour == 0
