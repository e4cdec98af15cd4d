"""Timers, alarms and reminders in the table `schedule`, and the time at which each is due.

A timer counts elapsed time: while the machine has not been restarted, setting its clock does not
change when the timer rings. Alarms and reminders follow the wall clock of their time zone. An entry
that is done is deleted; a repeated alarm is then due on its next weekday. `store.rings` has what
happens from the due time on.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from barnabee.store.conversations import format_timestamp
from barnabee.store.db import Database
from barnabee.understanding.interfaces import ScheduleEntry

RING_JOB = "ring_due"
_BOOT_ID_FILE = Path("/proc/sys/kernel/random/boot_id")
_COLUMNS = (
    *("entry_id", "kind", "state", "due_at", "label", "room", "speaker", "weekdays"),
    *("remaining_ms", "local_at", "time_zone", "boot_id", "boot_due_ms", "was_late"),
)
_LISTED = "state IN ('pending', 'paused', 'missed') OR (state = 'ringing' AND silenced_at IS NULL)"


def read_boot_id() -> str:
    """Return the id of this boot of the machine, the same in all its containers."""
    return _BOOT_ID_FILE.read_text(encoding="ascii").strip()


def _boot_time_ms() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


@dataclass(frozen=True)
class Clocks:
    """The clocks of this machine; the time since boot includes suspend and is in ms."""

    wall: Callable[[], datetime] = lambda: datetime.now(UTC)
    boot_time_ms: Callable[[], int] = _boot_time_ms
    boot_id: Callable[[], str] = read_boot_id


@dataclass(frozen=True, slots=True)
class DueTime:
    """Time at which a pending entry is due."""

    entry_id: str
    due_ms: int  # Unix time

    @property
    def job_id(self) -> str:
        """Id of the job that lets it ring."""
        return f"ring-{self.entry_id}-{self.due_ms}"

    @property
    def payload(self) -> dict[str, Any]:
        return {"entry_id": self.entry_id}


class ScheduleStore:
    """The entries, for those who set them."""

    def __init__(self, database: Database, clocks: Clocks | None = None) -> None:
        self._database = database
        self._clocks = clocks or Clocks()

    async def save(self, entry: ScheduleEntry) -> None:
        """Insert or replace `entry`; after it returns, the entry survives a power cut."""
        await self._database.write(lambda connection: save_entry(connection, entry, self._clocks))

    async def entries(self) -> list[ScheduleEntry]:
        """Return all entries that are pending, paused, ringing or missed; the next due first."""
        sql = f"SELECT * FROM schedule WHERE {_LISTED} ORDER BY due_at, entry_id"  # noqa: S608
        rows = await self._database.read(lambda db: db.execute(sql).fetchall())
        return [read_entry(row) for row in rows]

    async def cancel(self, entry_id: str) -> bool:
        """Delete an entry; False when there was none."""
        sql = "DELETE FROM schedule WHERE entry_id = ?"
        return await self._database.write(lambda db: db.execute(sql, (entry_id,)).rowcount > 0)

    async def move_to_time_zone(self, time_zone: str) -> bool:
        """Let alarms and reminders follow the clock of `time_zone`; return whether any moved."""
        condition = "local_at IS NOT NULL AND time_zone <> ? AND state = 'pending'"
        select = f"SELECT count(*) FROM schedule WHERE {condition}"  # noqa: S608 - fixed text
        found = await self._database.read(lambda db: db.execute(select, (time_zone,)).fetchone()[0])
        if not found:
            return False
        update = f"UPDATE schedule SET time_zone = ?1 WHERE {condition.replace('?', '?1')}"  # noqa: S608

        def move(connection: sqlite3.Connection) -> None:
            connection.execute(update, (time_zone,))
            update_due_times(connection, self._clocks)

        await self._database.write(move)
        return True

    async def refresh(self) -> Sequence[DueTime]:
        """Derive all due times again, after a clock or a time zone changed; return the pending."""
        select = "SELECT * FROM schedule WHERE state = 'pending' ORDER BY due_at"
        rows = await self._database.read(lambda db: db.execute(select).fetchall())
        if any(format_timestamp(compute_due(row, self._clocks)) != row["due_at"] for row in rows):
            await self._database.write(lambda db: update_due_times(db, self._clocks))
            rows = await self._database.read(lambda db: db.execute(select).fetchall())
        return [DueTime(row["entry_id"], to_ms(parse_time(row["due_at"]))) for row in rows]


def save_entry(connection: sqlite3.Connection, entry: ScheduleEntry, clocks: Clocks) -> None:
    """Insert or replace `entry`; what is known of an earlier ring is forgotten."""
    is_timer = entry.kind == "timer"
    until_due = entry.due - clocks.wall()
    remaining = entry.remaining
    time_zone = get_zone_name(entry.due)
    local = entry.due if time_zone else entry.due.astimezone()
    values = (
        *(entry.entry_id, entry.kind, entry.state, format_timestamp(entry.due)),
        *(_storable(entry.label), entry.room, _storable(entry.speaker)),
        sum(1 << day for day in entry.weekdays),
        None if remaining is None else remaining // timedelta(milliseconds=1),
        None if is_timer else local.replace(tzinfo=None, microsecond=0).isoformat(),
        time_zone,
        clocks.boot_id(),
        clocks.boot_time_ms() + until_due // timedelta(milliseconds=1) if is_timer else None,
        0,
    )
    marks = ", ".join("?" * len(_COLUMNS))
    sql = f"INSERT OR REPLACE INTO schedule ({', '.join(_COLUMNS)}) VALUES ({marks})"  # noqa: S608
    connection.execute(sql, values)


def read_entry(row: sqlite3.Row) -> ScheduleEntry:
    """Return the entry in `row`, due in its own time zone."""
    due = parse_time(row["due_at"])
    remaining_ms = row["remaining_ms"]
    return ScheduleEntry(
        entry_id=row["entry_id"],
        kind=row["kind"],
        due=due.astimezone(ZoneInfo(row["time_zone"]) if row["time_zone"] else None),
        label=row["label"],
        room=row["room"],
        speaker=row["speaker"],
        state=row["state"],
        remaining=None if remaining_ms is None else timedelta(milliseconds=remaining_ms),
        weekdays=read_weekdays(row),
    )


def read_weekdays(row: sqlite3.Row) -> frozenset[int]:
    """Return the weekdays on which the entry in `row` repeats."""
    return frozenset(day for day in range(7) if row["weekdays"] >> day & 1)


def update_due_times(connection: sqlite3.Connection, clocks: Clocks) -> None:
    """Store the due time of every pending entry anew."""
    for row in connection.execute("SELECT * FROM schedule WHERE state = 'pending'").fetchall():
        due_at = format_timestamp(compute_due(row, clocks))
        if due_at != row["due_at"]:
            connection.execute(
                "UPDATE schedule SET due_at = ? WHERE entry_id = ?", (due_at, row["entry_id"])
            )


def compute_due(row: sqlite3.Row, clocks: Clocks) -> datetime:
    """Return when the entry in `row` is due by the wall clock of now."""
    if row["local_at"] is not None:
        return resolve_local(datetime.fromisoformat(row["local_at"]), row["time_zone"])
    due = parse_time(row["due_at"])
    if row["boot_due_ms"] is None or row["boot_id"] != clocks.boot_id():
        return due
    left = timedelta(milliseconds=row["boot_due_ms"] - clocks.boot_time_ms())
    elapsed_due = clocks.wall() + left
    # The two clocks are not read at the same instant: less is no step of the wall clock.
    return due if abs(elapsed_due - due) < timedelta(milliseconds=100) else elapsed_due


def resolve_local(local: datetime, time_zone: str) -> datetime:
    """Return the instant of a wall-clock time; "" is the zone of this machine. Pure.

    A time that the change to summer time skips is as long after it, the first of two equal ones
    counts.
    """
    if not time_zone:
        return local.astimezone(UTC)
    return local.replace(tzinfo=ZoneInfo(time_zone)).astimezone(UTC)


def find_next_repeat(local: datetime, weekdays: frozenset[int]) -> datetime:
    """Return the next wall-clock time after `local` on one of `weekdays`. Pure."""
    days = next(days for days in range(1, 8) if (local.weekday() + days) % 7 in weekdays)
    return local + timedelta(days=days)


def get_zone_name(moment: datetime) -> str:
    """Return the name of the time zone of `moment`; "" when it is the machine's own."""
    zone = moment.tzinfo
    if zone is UTC:
        return "UTC"
    return zone.key if isinstance(zone, ZoneInfo) and zone.key else ""


def parse_time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def to_ms(moment: datetime) -> int:
    """Return Unix time in ms."""
    return round(moment.timestamp() * 1000)


def _storable(text: str | None) -> str | None:
    """Replace lone surrogates, which SQLite cannot store."""
    return None if text is None else text.encode("utf-8", "replace").decode()
