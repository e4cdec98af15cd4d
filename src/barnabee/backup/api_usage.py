"""What replication, drills and restores ask of the object store in a day, by Backblaze's classes.

a = uploads and deletions (free), b = downloads, c = listings; b and c are free up to 2500 a day.
Litestream 0.5.17 counts its uploads and deletions, and neither listings nor what it downloads to
join it. Those follow from its configuration, as was seen through a counting proxy;
`tests/integration` compares:

- at each end of a window of the first level: the transactions, and if something was written in it,
  the first level and the transactions again, to clear the old ones away;
- at each end of a window of a further level: the level before it, and if something was written,
  a download of each of its files of that window;
- every `transactions_check_s`: the first level and the transactions;
- every `validation_interval_h`: all levels that are compacted; at a snapshot those and its own.

A listing is one call for each thousand files.
"""

from __future__ import annotations

import fcntl
import itertools
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import date, datetime
from pathlib import Path

from barnabee.backup.replica import LISTED_AT_ONCE, SNAPSHOT_LEVEL, Asked, Part
from barnabee.core.schema import Replica

FILE = "calls.json"
DAYS_KEPT = 60
# What litestream lists when it starts, each level a few times (seen: 17 with three levels).
AT_START_PER_LEVEL = 4
AT_START = 5


@dataclass
class Day:
    """The calls of one day."""

    a: int = 0
    b: int = 0
    c: int = 0


@dataclass
class Ledger:
    """All days, and how many files each level of the replica had when it was last listed."""

    days: dict[str, Day] = field(default_factory=dict)
    files: dict[int, int] = field(default_factory=dict)

    def add(self, day: date, *, a: int = 0, b: int = 0, c: int = 0) -> None:
        """Count calls."""
        found = self.days.setdefault(day.isoformat(), Day())
        found.a, found.b, found.c = found.a + a, found.b + b, found.c + c
        for old in sorted(self.days)[:-DAYS_KEPT]:
            del self.days[old]

    def of(self, day: date) -> Day:
        """Return the calls of a day."""
        return self.days.get(day.isoformat(), Day())


def read(data: Path) -> Ledger:
    """Return what was counted so far; what cannot be read was not counted."""
    try:
        found = json.loads((data / FILE).read_text(encoding="utf-8"))
        days = {day: Day(**one) for day, one in found["days"].items()}
        return Ledger(days, {int(level): int(count) for level, count in found["files"].items()})
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return Ledger()


def change(data: Path, work: Callable[[Ledger], None]) -> Ledger:
    """Do `work` on the ledger while no other process does, and write it; blocks."""
    handle = os.open(data / f".{FILE}.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o660)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        ledger = read(data)
        work(ledger)
        scratch = data / f".{FILE}.new"
        told = {"days": {day: asdict(one) for day, one in ledger.days.items()}}
        scratch.write_text(json.dumps(told | {"files": ledger.files}), encoding="utf-8")
        scratch.replace(data / FILE)
    finally:
        os.close(handle)
    return ledger


def add_asked(data: Path, asked: Asked, now: datetime, parts: list[Part] | None = None) -> None:
    """Count what one of our own commands asked, and remember the files it saw."""

    def work(ledger: Ledger) -> None:
        ledger.add(now.date(), b=asked.b, c=asked.c)
        if parts is not None:
            levels = [part.level for part in parts]
            ledger.files = {level: levels.count(level) for level in set(levels)}

    change(data, work)


@dataclass(frozen=True)
class Look:
    """What was known of litestream at one moment."""

    at_s: float  # seconds since the epoch
    started_s: float  # when litestream did
    txid: int
    operations: Mapping[str, int]  # PUT, GET, DELETE: since it started


def read_metrics(text: str, now_s: float, txid: int) -> Look:
    """Return what litestream's metrics say; ValueError when they are none of its. Pure."""
    started = re.search(r"(?m)^process_start_time_seconds (\S+)$", text)
    if started is None:
        raise ValueError("these are not litestream's metrics")
    found = re.findall(
        r'(?m)^litestream_replica_operation_total\{operation="(\w+)",[^}]*\} (\S+)$', text
    )
    return Look(now_s, float(started[1]), txid, {name: int(float(count)) for name, count in found})


def between(
    plan: Replica, before: Look | None, now: Look, files: Mapping[int, int]
) -> tuple[int, int, int]:
    """Return the calls (a, b, c) from one look to the next. Pure.

    Looks are to be closer together than the shortest window.
    """
    fresh = before is None or before.started_s != now.started_s
    since = {} if before is None or fresh else before.operations
    counted = {name: count - since.get(name, 0) for name, count in now.operations.items()}
    a = counted.get("PUT", 0) + counted.get("DELETE", 0)
    listed = listings(plan, before, now, files)
    if fresh:
        listed += AT_START + AT_START_PER_LEVEL * len(plan.compact_every_s)
    return a, counted.get("GET", 0) + downloads(plan, before, now), listed


def downloads(plan: Replica, before: Look | None, now: Look) -> int:
    """Return the downloads from one look to the next, by the rules above. Pure."""
    if before is None or now.txid == before.txid:
        return 0
    pairs = itertools.pairwise(plan.compact_every_s)
    return sum(
        _ends(long_s, before.at_s, now.at_s) * (long_s // short_s) for short_s, long_s in pairs
    )


def listings(plan: Replica, before: Look | None, now: Look, files: Mapping[int, int]) -> int:
    """Return the listings from one look to the next, by the rules above. Pure."""
    since_s = now.started_s if before is None else max(before.at_s, now.started_s)
    windows = [_ends(every_s, since_s, now.at_s) for every_s in plan.compact_every_s]
    busy = before is None or now.txid > before.txid

    def pages(level: int) -> int:
        return 1 + files.get(level, 0) // LISTED_AT_ONCE

    # What was written since the last look falls into the window that ends next.
    found = windows[0] * (pages(0) + (pages(0) + pages(1) if busy else 0))
    found += sum(count * pages(level) for level, count in enumerate(windows[1:], start=1))
    checks = _ends(plan.transactions_check_s, since_s - now.started_s, now.at_s - now.started_s)
    found += checks * (pages(0) + pages(1))
    levels = sum(pages(level) for level in range(len(plan.compact_every_s) + 1))
    hour_s = 3600
    validations_s = plan.validation_interval_h * hour_s
    found += levels * _ends(validations_s, since_s - now.started_s, now.at_s - now.started_s)
    snapshots = _ends(plan.snapshot_interval_h * hour_s, since_s, now.at_s)
    return found + snapshots * (levels + 2 * pages(SNAPSHOT_LEVEL))


def a_day(plan: Replica, files: Mapping[int, int], *, busy: bool = True) -> int:
    """Return how many listings a whole day takes, something being written in every window. Pure."""
    day_s, found, step_s = 86_400, 0, plan.compact_every_s[0]
    looks = [
        Look(float(at_s), 0.0, at_s if busy else 0, {}) for at_s in range(0, day_s + 1, step_s)
    ]
    for before, now in itertools.pairwise(looks):
        found += listings(plan, before, now, files)
    return found


def _ends(every_s: int, since_s: float, until_s: float) -> int:
    """Return how many multiples of `every_s` lie in (since, until]."""
    return int(until_s // every_s) - int(since_s // every_s)
