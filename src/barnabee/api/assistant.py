"""The services that commands use, the clock of the home, and its timers, alarms and reminders.

The database is written directly, so that an entry survives a power cut before its command is
answered. The job may be lost; the worker makes it again from the table.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import structlog

from barnabee.api.turn_recorder import DatabaseSource
from barnabee.clients.queue import JobQueue
from barnabee.core.errors import BarnabeeError, SettingInvalid, Unavailable
from barnabee.core.schema import RoutineConfig, ScheduleConfig
from barnabee.skills import load_skills
from barnabee.skills.routines import make_routine_skill
from barnabee.store.rings import RingStore
from barnabee.store.schedule import RING_JOB, DueTime, ScheduleStore, get_zone_name, to_ms
from barnabee.understanding.command_context import CommandServices
from barnabee.understanding.home_controller import HomeController
from barnabee.understanding.interfaces import HomeControl, ScheduleEntry
from barnabee.understanding.schedule_phrases import say_missed
from barnabee.understanding.sentence_matcher import SentenceMatcher
from barnabee.understanding.skill import Skill
from barnabee.understanding.tool_runner import HomeSentences, make_confirmation_skill

ZONE_CHECK_EVERY_S = 60.0
RETRY_AFTER_S = 2

log = structlog.get_logger()


def make_skills(
    routines: Mapping[str, RoutineConfig], home_controller: HomeSentences | None
) -> tuple[Skill, ...]:
    """Return all skills: the family's routines first, because they may take any sentence."""
    own = (make_routine_skill(routines),) if routines else ()
    skills = (*own, *load_skills())
    return (*skills, make_confirmation_skill(skills, home_controller))


def make_command_services(
    routines: Mapping[str, RoutineConfig], *, home: HomeControl | None, **services: Any
) -> CommandServices:
    """Return the services of commands; `services` are fields of `CommandServices`."""
    home_controller = HomeController(home) if home is not None else None
    skills = make_skills(routines, home_controller)
    return CommandServices(
        skills=skills,
        matcher=SentenceMatcher(skills),
        home=home,
        home_controller=home_controller,
        **services,
    )


class HomeClock:
    """Clock in the time zone of the home: Home Assistant's, else the configured or the machine's.

    Logs one warning if they differ.
    """

    def __init__(
        self, time_zone: str, now: Callable[[], datetime] = lambda: datetime.now().astimezone()
    ) -> None:
        """`time_zone` is the configured one, "" for the machine's; SettingInvalid if unknown."""
        self._own = _read_time_zone(time_zone) if time_zone else None
        self._now = now
        self._has_warned = False

    def __call__(self, home_time_zone: str | None = None) -> datetime:
        now = self._now() if self._own is None else self._now().astimezone(self._own)
        if home_time_zone is None:
            return now
        try:
            at_home = now.astimezone(ZoneInfo(home_time_zone))
        except (ZoneInfoNotFoundError, ValueError, OSError):
            self._warn(home_time_zone, "it is unknown on this machine")
            return now
        if at_home.utcoffset() != now.utcoffset():
            self._warn(home_time_zone, f"here it is {now:%H:%M}, at home {at_home:%H:%M}")
        return at_home

    def _warn(self, home_time_zone: str, reason: str) -> None:
        if not self._has_warned:
            self._has_warned = True
            log.warning(
                "time_zone_of_the_home", code="setting_invalid", zone=home_time_zone, reason=reason
            )


def _read_time_zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise SettingInvalid(
            name="BARNABEE_TIME_ZONE",
            reason=f"it is {name!r}",
            hint="write a name like Europe/Berlin",
        ) from error


class DatabaseSchedule:
    """`understanding.interfaces.Schedule`, and the announcement of missed entries."""

    def __init__(self, databases: DatabaseSource, queue: JobQueue, config: ScheduleConfig) -> None:
        self._databases, self._queue = databases, queue
        self._snooze_for = timedelta(minutes=config.snooze_minutes)
        self._look: asyncio.Task[bool] | None = None

    @property
    def snooze_for(self) -> timedelta:
        return self._snooze_for

    async def save(self, entry: ScheduleEntry) -> None:
        await ScheduleStore(await self._databases.database()).save(entry)
        if entry.state == "pending":
            with suppress(Unavailable):
                await self._queue.defer(RING_JOB, [DueTime(entry.entry_id, to_ms(entry.due))])

    async def entries(self) -> Sequence[ScheduleEntry]:
        return await ScheduleStore(await self._databases.database()).entries()

    async def cancel(self, entry_id: str) -> bool:
        return await ScheduleStore(await self._databases.database()).cancel(entry_id)

    async def stop_ringing(self, room: str | None) -> Sequence[ScheduleEntry]:
        return await RingStore(await self._databases.database()).stop(room)

    async def take_missed(self, room: str | None) -> str:
        """Return the sentence about entries that were missed in `room`; "" without any."""
        try:
            if not await self._has_missed():
                return ""
            return say_missed(await RingStore(await self._databases.database()).take_missed(room))
        except Unavailable:
            return ""  # a later command reports it

    async def _has_missed(self) -> bool:
        """Look into the database; commands at the same time share one look.

        Each look wakes the thread of the database, and takes more of a busy core than a command.
        """
        if self._look is None or self._look.done():
            self._look = asyncio.create_task(self._look_for_missed())
        return await asyncio.shield(self._look)

    async def _look_for_missed(self) -> bool:
        return await RingStore(await self._databases.database()).has_missed()

    async def follow_time_zone(self, read_zone: Callable[[], Awaitable[str]]) -> None:
        """Let alarms follow the clock of the home when its time zone changes, until cancelled."""
        while True:
            try:
                database = await self._databases.database()
                if await ScheduleStore(database).move_to_time_zone(await read_zone()):
                    log.info("alarms_moved_to_time_zone")
            except BarnabeeError as error:
                log.debug("time_zone_not_followed", code=error.code, reason=str(error))
            await asyncio.sleep(ZONE_CHECK_EVERY_S)


def make_zone_reader(
    clock: Callable[[str | None], datetime], home: HomeControl | None
) -> Callable[[], Awaitable[str]]:
    """Return a function that reads the time zone of the home; Unavailable while it is unknown."""

    async def read_zone() -> str:
        known = await home.read_home() if home is not None else None
        return get_zone_name(clock(known.time_zone if known else None))

    return read_zone
