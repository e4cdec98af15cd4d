"""Clocks that a test sets, and entries of the schedule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from barnabee.store.schedule import Clocks
from barnabee.understanding.interfaces import ScheduleEntry

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 3, 27, 18, 0, tzinfo=BERLIN)  # a Friday; summer time begins on Sunday


@dataclass
class FakeMachine:
    """A machine whose clocks stand still until the test moves them."""

    now: datetime = field(default_factory=lambda: NOW.astimezone(UTC))
    boot_ms: int = 1_000_000
    boot: str = "boot-1"

    @property
    def clocks(self) -> Clocks:
        return Clocks(lambda: self.now, lambda: self.boot_ms, lambda: self.boot)

    def advance(self, **time: float) -> None:
        """Let time pass."""
        self.now += timedelta(**time)
        self.boot_ms += timedelta(**time) // timedelta(milliseconds=1)

    def set_wall_clock(self, **step: float) -> None:
        """Set the wall clock forward, or back."""
        self.now += timedelta(**step)

    def reboot(self, **off: float) -> None:
        """Switch the machine off for a while."""
        self.now += timedelta(**off)
        self.boot, self.boot_ms = f"{self.boot}+", 1000


@dataclass
class FakeSchedule:
    """A schedule in memory; `ring` lets an entry ring."""

    kept: dict[str, ScheduleEntry] = field(default_factory=dict)
    snooze_for: timedelta = timedelta(minutes=9)

    async def save(self, entry: ScheduleEntry) -> None:
        self.kept[entry.entry_id] = entry

    async def entries(self) -> Sequence[ScheduleEntry]:
        return sorted(self.kept.values(), key=lambda entry: entry.due)

    async def cancel(self, entry_id: str) -> bool:
        return self.kept.pop(entry_id, None) is not None

    async def stop_ringing(self, room: str | None) -> Sequence[ScheduleEntry]:
        ringing = [entry for entry in self.kept.values() if entry.state == "ringing"]
        for entry in ringing:
            del self.kept[entry.entry_id]
        return ringing

    def ring(self, label: str = "") -> None:
        for entry_id, entry in self.kept.items():
            if label in entry.label:
                self.kept[entry_id] = replace(entry, state="ringing")

    def described(self) -> list[str]:
        """Return "kind label YYYY-MM-DD HH:MM" of all entries, the next due first."""
        ordered = sorted(self.kept.values(), key=lambda entry: entry.due)
        return [f"{one.kind} {one.label} {one.due:%m-%d %H:%M:%S}" for one in ordered]


def make_timer(entry_id: str = "pasta", *, minutes: float = 10, **fields: Any) -> ScheduleEntry:
    fields = {
        "label": "pasta",
        "room": "kitchen",
        "due": NOW + timedelta(minutes=minutes),
        **fields,
    }
    return ScheduleEntry(entry_id, "timer", **fields)


def make_alarm(entry_id: str = "morning", *, due: datetime, **fields: Any) -> ScheduleEntry:
    return ScheduleEntry(entry_id, "alarm", due=due, **fields)
