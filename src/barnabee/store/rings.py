"""What happens to an entry of the schedule from its due time on.

    pending ── due ──> ringing ── stopped, or silenced ──> deleted, or due again
       │                  └── not stopped for too long ──> missed ── reported ──> deleted
       └── due long ago ──────────────────────────────────────^

Each arrow is one transaction on the row, so an entry rings once, whichever processes try. A ring
has an id; those who sound it recognize by it what they know already.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from barnabee.store.conversations import format_timestamp
from barnabee.store.db import Database
from barnabee.store.schedule import (
    Clocks,
    compute_due,
    find_next_repeat,
    parse_time,
    read_entry,
    read_weekdays,
    resolve_local,
    save_entry,
    to_ms,
)
from barnabee.understanding.interfaces import ScheduleEntry

SNOOZE_GRACE = timedelta(seconds=60)  # after a reaction, "snooze" still finds the ring
MISSED_KEPT = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Ring:
    """An entry that rings since `rang_at`; `was_late` when it should have long before."""

    ring_id: str
    entry: ScheduleEntry
    rang_at: datetime
    was_late: bool
    sounded_at: datetime | None
    notified_at: datetime | None


@dataclass(frozen=True, slots=True)
class DueEntries:
    """Entries that have become due: those that ring now, and those that are too late for it."""

    ringing: Sequence[Ring] = ()
    missed: Sequence[ScheduleEntry] = ()


class RingStore:
    """State transitions of rings. `late` and later a ring says so, after `too_late` it is none."""

    def __init__(
        self,
        database: Database,
        clocks: Clocks | None = None,
        *,
        late: timedelta = timedelta(seconds=60),
        too_late: timedelta = timedelta(hours=1),
    ) -> None:
        self._database = database
        self._clocks = clocks or Clocks()
        self._late = late
        self._too_late = too_late

    async def begin_due(self, *, overdue: timedelta = timedelta()) -> DueEntries:
        """Let every pending entry ring that has been due for `overdue`."""
        sql = "SELECT * FROM schedule WHERE state = 'pending' AND due_at <= ? ORDER BY due_at"
        until = format_timestamp(self._clocks.wall() - overdue)
        if not await self._database.read(lambda db: db.execute(sql, (until,)).fetchone()):
            return DueEntries()

        def begin(connection: sqlite3.Connection) -> DueEntries:
            ringing, missed = list[Ring](), list[ScheduleEntry]()
            for row in connection.execute(sql, (until,)).fetchall():
                due = compute_due(row, self._clocks)
                behind = self._clocks.wall() - due
                if behind < timedelta():  # the wall clock was set forward
                    continue
                if behind > self._too_late:
                    missed.append(self._miss(connection, row))
                else:
                    ringing.append(self._begin(connection, row, is_late=behind > self._late))
            return DueEntries(ringing, missed)

        return await self._database.write(begin)

    async def ringing(self) -> list[Ring]:
        """Return what rings now and is not silenced, the first due first."""
        sql = (
            "SELECT * FROM schedule WHERE state = 'ringing' AND silenced_at IS NULL "
            "ORDER BY due_at, entry_id"
        )
        rows = await self._database.read(lambda db: db.execute(sql).fetchall())
        return [_read_ring(row) for row in rows]

    async def record(
        self,
        *,
        sounded: Mapping[str, datetime] | None = None,
        silenced: Collection[str] = (),
        notified: Collection[str] = (),
    ) -> None:
        """Record, by ring id, when a room began to ring, and which rings got a reaction."""
        now = format_timestamp(self._clocks.wall())
        changes = [
            *(("sounded_at", format_timestamp(at), ring) for ring, at in (sounded or {}).items()),
            *(("silenced_at", now, ring) for ring in silenced),
            *(("notified_at", now, ring) for ring in notified),
        ]
        if not changes:
            return

        def write(connection: sqlite3.Connection) -> None:
            for column, value, ring_id in changes:
                connection.execute(
                    f"UPDATE schedule SET {column} = ? WHERE ring_id = ? AND {column} IS NULL",  # noqa: S608
                    (value, ring_id),
                )

        await self._database.write(write)

    async def stop(self, room: str | None) -> list[ScheduleEntry]:
        """Stop what rings in `room`, else whatever rings; return it.

        Also what was silenced in the last minute, so that it can be snoozed.
        """

        def stop_rings(connection: sqlite3.Connection) -> list[ScheduleEntry]:
            sql = "SELECT * FROM schedule WHERE state = 'ringing' ORDER BY due_at"
            rows = connection.execute(sql).fetchall()
            here = [row for row in rows if room is None or row["room"] in {room, None}]
            stopped = here or rows
            for row in stopped:
                self._finish(connection, row)
            return [read_entry(row) for row in stopped]

        if not await self._has("ringing"):
            return []
        return await self._database.write(stop_rings)

    async def end_old(self, ring_for: timedelta) -> list[ScheduleEntry]:
        """Finish rings that got a reaction, and return those missed after ringing `ring_for`."""
        now = self._clocks.wall()
        since = format_timestamp(now - ring_for)
        graced = format_timestamp(now - SNOOZE_GRACE)
        forgotten = format_timestamp(now - MISSED_KEPT)

        def end(connection: sqlite3.Connection) -> list[ScheduleEntry]:
            sql = "SELECT * FROM schedule WHERE state = 'ringing' AND silenced_at <= ?"
            for row in connection.execute(sql, (graced,)).fetchall():
                self._finish(connection, row)
            sql = "DELETE FROM schedule WHERE state = 'missed' AND due_at < ?"
            connection.execute(sql, (forgotten,))
            sql = "SELECT * FROM schedule WHERE state = 'ringing' AND rang_at <= ?"
            rows = connection.execute(f"{sql} AND silenced_at IS NULL", (since,)).fetchall()
            return [self._miss(connection, row) for row in rows]

        if not await self._has("ringing"):
            return []
        return await self._database.write(end)

    async def has_missed(self) -> bool:
        return await self._has("missed")

    async def take_missed(self, room: str | None) -> list[ScheduleEntry]:
        """Delete and return what was missed in `room`, or anywhere."""
        condition = "state = 'missed' AND (?1 IS NULL OR room IS NULL OR room = ?1)"

        def take(connection: sqlite3.Connection) -> list[ScheduleEntry]:
            sql = f"SELECT * FROM schedule WHERE {condition} ORDER BY due_at"  # noqa: S608
            rows = connection.execute(sql, (room,)).fetchall()
            connection.execute(f"DELETE FROM schedule WHERE {condition}", (room,))  # noqa: S608
            return [read_entry(row) for row in rows]

        return await self._database.write(take)

    async def _has(self, state: str) -> bool:
        sql = "SELECT 1 FROM schedule WHERE state = ? LIMIT 1"
        return bool(await self._database.read(lambda db: db.execute(sql, (state,)).fetchone()))

    def _begin(self, connection: sqlite3.Connection, row: sqlite3.Row, *, is_late: bool) -> Ring:
        ring_id = f"{row['entry_id']}.{to_ms(parse_time(row['due_at']))}"
        connection.execute(
            "UPDATE schedule SET state = 'ringing', ring_id = ?, rang_at = ?, was_late = ?, "
            "sounded_at = NULL, silenced_at = NULL, notified_at = NULL WHERE entry_id = ?",
            (ring_id, format_timestamp(self._clocks.wall()), is_late, row["entry_id"]),
        )
        sql = "SELECT * FROM schedule WHERE entry_id = ?"
        return _read_ring(connection.execute(sql, (row["entry_id"],)).fetchone())

    def _finish(self, connection: sqlite3.Connection, row: sqlite3.Row) -> None:
        """Delete the entry, or let it be due again."""
        if not row["weekdays"]:
            connection.execute("DELETE FROM schedule WHERE entry_id = ?", (row["entry_id"],))
            return
        local, zone = datetime.fromisoformat(row["local_at"]), row["time_zone"]
        while True:  # the days on which the machine was off are left out
            local = find_next_repeat(local, read_weekdays(row))
            due = resolve_local(local, zone)
            if due > self._clocks.wall():
                break
        connection.execute(
            "UPDATE schedule SET state = 'pending', local_at = ?, due_at = ? WHERE entry_id = ?",
            (local.isoformat(), format_timestamp(due), row["entry_id"]),
        )

    def _miss(self, connection: sqlite3.Connection, row: sqlite3.Row) -> ScheduleEntry:
        """Set the entry aside to be reported; a repeated one leaves a copy and is due again."""
        missed = replace(read_entry(row), state="missed")
        if row["weekdays"]:
            self._finish(connection, row)
            single = f"{row['entry_id']}.{to_ms(missed.due)}"
            missed = replace(missed, entry_id=single, weekdays=frozenset())
        save_entry(connection, missed, self._clocks)
        return missed


def _read_ring(row: sqlite3.Row) -> Ring:
    return Ring(
        ring_id=row["ring_id"],
        entry=read_entry(row),
        rang_at=parse_time(row["rang_at"]),
        was_late=bool(row["was_late"]),
        sounded_at=parse_time(row["sounded_at"]) if row["sounded_at"] else None,
        notified_at=parse_time(row["notified_at"]) if row["notified_at"] else None,
    )
