"""Cost of backups and drills, each measured together with its reference in one run.

A database of 1 GB of turns, the real litestream, a real S3 server; `-s` shows the figures.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sqlite3
import statistics
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from barnabee.backup import consistent_copy, drill, restic, restore, restore_sources
from barnabee.backup.snapshots import ignore_progress
from barnabee.core.files import sync_file
from barnabee.store import db
from support.backup import get_repository, take_snapshot
from support.benchmark import choose_size, is_at_least, is_at_most
from support.programs import needs_program
from support.replica import ReplicatedDeployment, make_replicated_deployment
from support.wait import eventually

pytestmark = pytest.mark.timeout(600)
SIZE_MB = choose_size(1000, 20)
ROW = "INSERT INTO turns VALUES (?,?,?,?,?,?,?,?,?,?)"
# Offset of the timestamp (ms) in the header of an LTX file (format 3).
LTX_TIMESTAMP = 32
PAIRS, SLICE_S = choose_size((14, 1.0), (1, 0.2))
STREAMED_S = choose_size(20.0, 1.0)
CPU_SHARE = 0.25  # CPUQuota of nixos/modules/backup.nix
# A machine that takes longer than 6 s for `cp` and integrity_check may take longer for the drill.
SLOWER = 10


@pytest.fixture
def deployment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ReplicatedDeployment]:
    with make_replicated_deployment(tmp_path, monkeypatch) as deployment:
        yield deployment


def row(number: int, words: bytes) -> tuple[Any, ...]:
    """Return a turn of about 800 bytes with unique text."""
    start = number * 131 % (len(words) - 700)
    text = words[start : start + 620].decode()
    at = f"2026-01-{1 + number % 28:02}T00:00:{number % 60:02}.{number % 1000:03}Z"
    return (f"{number:032x}", "s", None, text[:60], text, "chat", "[]", "[]", '{"total": 412}', at)


def insert_turns(database: Path, size_mb: int) -> None:
    db.prepare_database(database)
    words = os.urandom(4 * 1024 * 1024).hex().encode()
    with closing(consistent_copy.connect_live(database, "rw")) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        number = 0
        while database.stat().st_size < size_mb * 1_000_000:
            connection.execute("BEGIN")
            connection.executemany(ROW, (row(n, words) for n in range(number, number + 20_000)))
            connection.execute("COMMIT")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            number += 20_000


def measure_copy_and_check(database: Path, target: Path) -> float:
    """Return the duration of `cp` and an integrity check of the copy."""
    start_s = time.monotonic()
    shutil.copyfile(database, target)
    sync_file(target)
    with closing(sqlite3.connect(target)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    took_s = time.monotonic() - start_s
    target.unlink()
    return took_s


async def test_a_gigabyte_is_restored_fast_and_its_drill_needs_little_cpu_time(
    deployment: ReplicatedDeployment, tmp_path: Path
) -> None:
    await asyncio.to_thread(insert_turns, deployment.path, SIZE_MB)
    deployment.start_litestream()
    await eventually(deployment.wait_until_replicated, within_s=200)
    take_snapshot(deployment)

    begun: list[tuple[str, float]] = []
    done = await drill.run_drill(
        *(deployment.system, deployment.settings),
        on_progress=lambda step, _done, _all: begun.append((step, sum(os.times()[:4]))),
    )
    ends = [*begun[1:], ("", sum(os.times()[:4]))]
    for (step, start_s), (_, end_s) in zip(begun, ends, strict=True):
        print(f"\n{step}: {end_s - start_s:.2f} s of CPU time", end="")
    limited_s = done.cpu_ms / 1000 / CPU_SHARE
    print(
        f"\ndrill of {done.bytes / 1e6:.0f} MB: {done.took_ms / 1000:.1f} s, "
        f"{done.cpu_ms / 1000:.1f} s of CPU time; {limited_s:.1f} s with its quota (limit 60 s)"
    )
    assert done.success, done
    deployment.stop_litestream()

    plain_s, restored_s = [], []
    for number in range(2):
        plain_s.append(
            await asyncio.to_thread(measure_copy_and_check, deployment.path, tmp_path / "c.db")
        )
        target = tmp_path / f"restored{number}.db"
        source = await restore_sources.find_replica_source(deployment.system, deployment.settings)
        start_s = time.monotonic()
        await restore.restore_in_place(
            target, source, restore.NoWriters(), ignore_progress, force=False
        )
        restored_s.append(time.monotonic() - start_s)
        target.unlink()
    ratio = min(restored_s) / min(plain_s)
    print(
        f"restore: {min(restored_s):.1f} s, cp and integrity_check: {min(plain_s):.1f} s, "
        f"{ratio:.2f} times (limit 2)"
    )
    assert is_at_most(ratio, 2)
    assert is_at_most(limited_s, max(60, SLOWER * min(plain_s)))


def measure_cpu_s(work: Callable[[], object]) -> float:
    """Return the CPU time of `work` and of the programs that it ran."""
    begun_s = sum(os.times()[:4])
    work()
    return sum(os.times()[:4]) - begun_s


@needs_program("restic", "restic")
def test_a_day_of_changes_grows_the_repository_little(deployment: ReplicatedDeployment) -> None:
    insert_turns(deployment.path, SIZE_MB)
    repository = get_repository(deployment.settings)
    local = restic.open_local(deployment.settings, restic.make_password(deployment.settings))
    begun_s = time.monotonic()
    made_s = measure_cpu_s(lambda: take_snapshot(deployment))
    before = sum_bytes(repository)
    pruned_s = measure_cpu_s(lambda: local.forget(deployment.system.retention.snapshots_days))
    checked_s = measure_cpu_s(lambda: local.check(datetime.now(UTC).date()))
    took_s = time.monotonic() - begun_s
    words, database_bytes = os.urandom(1024 * 1024).hex().encode(), deployment.path.stat().st_size
    with closing(consistent_copy.connect_live(deployment.path, "rw")) as connection:
        (count,) = connection.execute("SELECT count(*) FROM turns").fetchone()
        new = (row(count + number, words) for number in range(count // 100))
        connection.execute("BEGIN")
        connection.executemany(ROW, ((*one[:-1], f"2026-02-01{one[-1][10:]}") for one in new))
        connection.execute("COMMIT")
    take_snapshot(deployment)
    grown = (sum_bytes(repository) - before) / database_bytes
    print(
        f"\nsnapshot, prune and check of {database_bytes / 1e6:.0f} MB: {took_s:.0f} s (limit 60); "
        f"CPU time {made_s:.1f}, {pruned_s:.1f} and {checked_s:.1f} s; {before / 1e6:.0f} MB; "
        f"after 1 % more rows the repository grew by {grown:.1%} of the database (limit 3 %)"
    )
    assert is_at_most(grown, 0.03)
    assert is_at_most(took_s, 60)


def sum_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def write_turns(database: Path, seconds: float, first: int, per_s: float = 0) -> list[float]:
    """Write turns for `seconds`, one per transaction; return the times of the commits."""
    words = b"what was said and what was replied " * 40
    at_s: list[float] = []
    with closing(consistent_copy.connect_live(database, "rw")) as connection:
        start_s = time.monotonic()
        while (gone_s := time.monotonic() - start_s) < seconds:
            if per_s and len(at_s) > gone_s * per_s:
                time.sleep(1 / per_s)
                continue
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(ROW, row(first + len(at_s), words))
            connection.execute("COMMIT")
            at_s.append(time.time())
    return at_s


async def test_replication_costs_at_most_a_tenth_of_the_writes(
    deployment: ReplicatedDeployment,
) -> None:
    db.prepare_database(deployment.path)
    deployment.start_litestream()
    await asyncio.to_thread(write_turns, deployment.path, 1.0, 0)
    assert deployment.process is not None
    ratios, first = [], 1_000_000
    for number in range(PAIRS):  # short and alternating, because other load changes
        counts = {}
        for streamed in (number % 2 == 0, number % 2 == 1):
            await eventually(deployment.wait_until_replicated, within_s=60)
            if not streamed:
                deployment.process.send_signal(signal.SIGSTOP)
            counts[streamed] = len(
                await asyncio.to_thread(write_turns, deployment.path, SLICE_S, first)
            )
            deployment.process.send_signal(signal.SIGCONT)
            first += 1_000_000
        ratios.append(counts[True] / counts[False])
    cost = 1 - statistics.median(ratios)
    spread = ", ".join(f"{ratio:.2f}" for ratio in sorted(ratios))
    print(
        f"\nwrites with litestream to those without, in pairs: {spread}: "
        f"{cost:.1%} fewer (limit 10 %)"
    )
    assert is_at_most(cost, 0.10)


async def test_two_hundred_writes_a_second_are_replicated_within_1500_ms(
    deployment: ReplicatedDeployment,
) -> None:
    db.prepare_database(deployment.path)
    deployment.start_litestream()
    await asyncio.to_thread(write_turns, deployment.path, 1.0, 0, 200)
    await deployment.wait_until_replicated()
    committed = await asyncio.to_thread(write_turns, deployment.path, STREAMED_S, 1_000_000, 200)
    await deployment.wait_until_replicated()
    arrived = []
    for file in deployment.s3.directory.rglob("0000/*.ltx"):
        with file.open("rb") as opened:
            opened.seek(LTX_TIMESTAMP)
            [cut_ms] = struct.unpack(">q", opened.read(8))
        arrived.append((cut_ms / 1000, file.stat().st_mtime))
    arrived.sort()
    lags_s = []
    for at_s in committed:
        there_s = next((there for cut_s, there in arrived if cut_s >= at_s), None)
        assert there_s is not None
        lags_s.append(there_s - at_s)
    lags_s.sort()
    p50, p99 = lags_s[len(lags_s) // 2], lags_s[int(len(lags_s) * 0.99)]
    rate = len(committed) / STREAMED_S
    print(
        f"\n{len(committed)} transactions at {rate:.0f} a second in {len(arrived)} files: lag p50 "
        f"{p50:.2f} s, p99 {p99:.2f} s, most {lags_s[-1]:.2f} s (limit 1.5 s)"
    )
    assert is_at_least(rate, 150)
    assert is_at_most(p99, 1.5)
