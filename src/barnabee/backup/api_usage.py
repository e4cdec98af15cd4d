"""API usage: calls to the object store per day, by Backblaze's classes.

a = uploads and deletions (free), b = downloads, c = listings; b and c are free up to 2500 a day.
Litestream 0.5.17 counts its uploads and deletions, but neither its listings nor the downloads of a
compaction. Those are estimated from its configuration; the rules were measured with a counting
proxy, and `tests/integration` compares:

- at each end of a window of the first level it lists the transactions, and if something was written
  in the window, the first level and the transactions again, to delete old ones;
- at each end of a window of a further level it lists the level below, and if something was written,
  downloads each of that level's files of the window;
- every `transactions_check_s` it lists the first level and the transactions;
- every `validation_interval_h` it lists all compacted levels; at a snapshot also the snapshots.

A listing is one call for each thousand files.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import date, datetime
from pathlib import Path

from barnabee.backup.replica import LIST_PAGE_FILES, SNAPSHOT_LEVEL, LtxFile, StoreRequests
from barnabee.core.files import lock_file, write_atomically
from barnabee.core.schema import ReplicaConfig

USAGE_FILE = "calls.json"
MAX_DAYS = 60
# Listings when litestream starts (measured: 17 with three levels).
LISTINGS_AT_START_PER_LEVEL = 4
LISTINGS_AT_START = 5


@dataclass
class ApiCalls:
    """Calls of one day."""

    a: int = 0
    b: int = 0
    c: int = 0


@dataclass
class ApiUsage:
    """Calls by day, and the number of files of each replica level when it was last listed."""

    days: dict[str, ApiCalls] = field(default_factory=dict)
    files: dict[int, int] = field(default_factory=dict)

    def add(self, day: date, *, a: int = 0, b: int = 0, c: int = 0) -> None:
        calls = self.days.setdefault(day.isoformat(), ApiCalls())
        calls.a, calls.b, calls.c = calls.a + a, calls.b + b, calls.c + c
        for old in sorted(self.days)[:-MAX_DAYS]:
            del self.days[old]

    def calls_on(self, day: date) -> ApiCalls:
        return self.days.get(day.isoformat(), ApiCalls())


def read_usage(data: Path) -> ApiUsage:
    """Return the recorded usage; empty when the file is missing or unreadable."""
    try:
        found = json.loads((data / USAGE_FILE).read_text(encoding="utf-8"))
        days = {day: ApiCalls(**calls) for day, calls in found["days"].items()}
        return ApiUsage(days, {int(level): int(count) for level, count in found["files"].items()})
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return ApiUsage()


def update_usage(data: Path, change: Callable[[ApiUsage], None]) -> ApiUsage:
    """Apply `change` to the recorded usage under a lock, write and return it; blocks."""
    with lock_file(data / f".{USAGE_FILE}.lock"):
        usage = read_usage(data)
        change(usage)
        days = {day: asdict(calls) for day, calls in usage.days.items()}
        write_atomically(data / USAGE_FILE, json.dumps({"days": days, "files": usage.files}))
    return usage


def add_requests(
    data: Path, requests: StoreRequests, now: datetime, files: list[LtxFile] | None = None
) -> None:
    """Record the requests of one of our own commands, and the replica's files that it listed."""

    def add(usage: ApiUsage) -> None:
        usage.add(now.date(), b=requests.b, c=requests.c)
        if files is not None:
            levels = [file.level for file in files]
            usage.files = {level: levels.count(level) for level in set(levels)}

    update_usage(data, add)


@dataclass(frozen=True)
class LitestreamSample:
    """State of litestream at one time."""

    at_s: float  # seconds since the epoch
    started_s: float  # start of the litestream process
    txid: int
    operations: Mapping[str, int]  # PUT, GET, DELETE since the start


def parse_metrics(text: str, now_s: float, txid: int) -> LitestreamSample:
    """Return the sample in litestream's metrics; ValueError when `text` is something else. Pure."""
    started = re.search(r"(?m)^process_start_time_seconds (\S+)$", text)
    if started is None:
        raise ValueError("these are not litestream's metrics")
    found = re.findall(
        r'(?m)^litestream_replica_operation_total\{operation="(\w+)",[^}]*\} (\S+)$', text
    )
    return LitestreamSample(
        now_s, float(started[1]), txid, {name: int(float(count)) for name, count in found}
    )


def estimate_calls(
    plan: ReplicaConfig,
    before: LitestreamSample | None,
    now: LitestreamSample,
    files: Mapping[int, int],
) -> tuple[int, int, int]:
    """Return the calls (a, b, c) between two samples. Pure.

    The samples must be closer together than the shortest window.
    """
    restarted = before is None or before.started_s != now.started_s
    since = {} if before is None or restarted else before.operations
    counted = {name: count - since.get(name, 0) for name, count in now.operations.items()}
    a = counted.get("PUT", 0) + counted.get("DELETE", 0)
    listings = estimate_listings(plan, before, now, files)
    if restarted:
        listings += LISTINGS_AT_START + LISTINGS_AT_START_PER_LEVEL * len(plan.compact_every_s)
    return a, counted.get("GET", 0) + estimate_downloads(plan, before, now), listings


def estimate_downloads(
    plan: ReplicaConfig, before: LitestreamSample | None, now: LitestreamSample
) -> int:
    """Return the downloads between two samples, by the rules above. Pure."""
    if before is None or now.txid == before.txid:
        return 0
    pairs = itertools.pairwise(plan.compact_every_s)
    return sum(
        _count_multiples(long_s, before.at_s, now.at_s) * (long_s // short_s)
        for short_s, long_s in pairs
    )


def estimate_listings(
    plan: ReplicaConfig,
    before: LitestreamSample | None,
    now: LitestreamSample,
    files: Mapping[int, int],
) -> int:
    """Return the listings between two samples, by the rules above. Pure."""
    since_s = now.started_s if before is None else max(before.at_s, now.started_s)
    windows = [_count_multiples(every_s, since_s, now.at_s) for every_s in plan.compact_every_s]
    busy = before is None or now.txid > before.txid

    def pages(level: int) -> int:
        return 1 + files.get(level, 0) // LIST_PAGE_FILES

    # What was written since the last sample falls into the window that ends next.
    total = windows[0] * (pages(0) + (pages(0) + pages(1) if busy else 0))
    total += sum(count * pages(level) for level, count in enumerate(windows[1:], start=1))
    checks = _count_multiples(
        plan.transactions_check_s, since_s - now.started_s, now.at_s - now.started_s
    )
    total += checks * (pages(0) + pages(1))
    levels = sum(pages(level) for level in range(len(plan.compact_every_s) + 1))
    hour_s = 3600
    validations_s = plan.validation_interval_h * hour_s
    total += levels * _count_multiples(
        validations_s, since_s - now.started_s, now.at_s - now.started_s
    )
    snapshots = _count_multiples(plan.snapshot_interval_h * hour_s, since_s, now.at_s)
    return total + snapshots * (levels + 2 * pages(SNAPSHOT_LEVEL))


def estimate_daily_listings(
    plan: ReplicaConfig, files: Mapping[int, int], *, busy: bool = True
) -> int:
    """Return the listings of a whole day; `busy`: something is written in every window. Pure."""
    day_s, total, step_s = 86_400, 0, plan.compact_every_s[0]
    samples = [
        LitestreamSample(float(at_s), 0.0, at_s if busy else 0, {})
        for at_s in range(0, day_s + 1, step_s)
    ]
    for before, now in itertools.pairwise(samples):
        total += estimate_listings(plan, before, now, files)
    return total


def _count_multiples(every_s: int, since_s: float, until_s: float) -> int:
    """Return how many multiples of `every_s` are in (since_s, until_s]."""
    return int(until_s // every_s) - int(since_s // every_s)
