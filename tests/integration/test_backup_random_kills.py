"""A hundred rounds of `kill -9` at random times: the restored database is intact and recent.

In each round a process is killed while turns are written: litestream, the writer (as the api and
the worker write), the S3 server, or all of them. Then the replica is restored as after the loss of
the disk and compared: intact, without gaps, and at most the sync interval plus one upload old.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from barnabee.backup import consistent_copy, integrity
from barnabee.backup.replica import LitestreamReplica
from barnabee.store import db
from support.backup import read_live_content
from support.replica import ReplicatedDeployment, make_replicated_deployment
from support.wait import wait_until

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]
ROUNDS, PER_S = 100, 150
WRITER = Path(__file__).parents[1] / "support/turn_writer.py"
# From the commit to the object, beyond the sync interval: the transfer, on two busy cores.
UPLOAD_S = 1.0


@dataclass
class Storm:
    """A deployment in which turns are written, and the measured losses."""

    deployment: ReplicatedDeployment
    notes: Path
    random: random.Random = field(default_factory=lambda: random.Random(20260131))  # noqa: S311
    writer: subprocess.Popen[bytes] | None = None
    killed: Counter[str] = field(default_factory=Counter)
    windows_s: list[float] = field(default_factory=list)
    lost: list[int] = field(default_factory=list)

    def start_writer(self) -> None:
        arguments = (str(self.deployment.path), str(self.notes), str(PER_S))
        root = WRITER.parents[2]
        self.writer = subprocess.Popen(
            [sys.executable, str(WRITER), *arguments],
            env={**os.environ, "PYTHONPATH": f"{root / 'src'}:{root / 'tests'}"},
        )

    def stop_writer(self) -> None:
        if self.writer is not None:
            self.writer.send_signal(signal.SIGKILL)
            self.writer.wait()
            self.writer = None

    def committed(self) -> list[tuple[int, float]]:
        lines = self.notes.read_text().splitlines() if self.notes.exists() else []
        return [(int(number), float(at)) for number, at in map(str.split, lines)]

    async def wait_for_writes(self, count: int = 30) -> None:
        before = len(self.committed())
        await wait_until(lambda: len(self.committed()) >= before + count, within_s=60)

    def kill(self, target: str) -> float:
        """Kill the process or all of them; return the time."""
        self.killed[target] += 1
        at_s = time.time()
        if target in {"litestream", "all"}:
            self.deployment.stop_litestream(signal.SIGKILL)
        if target in {"writer", "all"}:
            self.stop_writer()
        if target in {"s3", "all"}:
            self.deployment.s3.kill()
        return at_s

    def start_all(self) -> None:
        if self.deployment.s3.process is None:
            self.deployment.s3.start()
        if self.deployment.process is None:
            self.deployment.start_litestream()
        if self.writer is None:
            self.start_writer()

    async def restore(self, target: Path) -> int:
        """Restore to `target` as after the loss of the disk; return the last turn in it."""
        await LitestreamReplica(self.deployment.system, self.deployment.settings).fetch(
            target, limit_s=60
        )
        await asyncio.to_thread(integrity.check_integrity, target)
        with closing(consistent_copy.connect_live(target, "ro")) as connection:
            count, last = connection.execute("SELECT count(*), max(trace_id) FROM turns").fetchone()
        assert count == int(last, 16), "a turn is missing in the restored database"
        return int(count)

    async def compare(self, at_s: float, target: Path) -> None:
        """Measure the loss if the disk had failed at `at_s`."""
        last = await self.restore(target)
        before = [(number, at) for number, at in self.committed() if at <= at_s]
        missing = [at for number, at in before if number > last]
        self.lost.append(len(missing))
        self.windows_s.append(at_s - min(missing) if missing else 0.0)


@pytest.fixture
def storm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Storm]:
    with make_replicated_deployment(tmp_path, monkeypatch) as deployment:
        db.prepare_database(deployment.path)
        storm = Storm(deployment, tmp_path / "notes")
        yield storm
        storm.stop_writer()


async def test_a_hundred_kills_lose_at_most_the_sync_interval(storm: Storm, tmp_path: Path) -> None:
    interval_s = storm.deployment.system.replica.sync_interval_ms / 1000
    target = tmp_path / "restored.db"
    for number in range(ROUNDS):
        storm.start_all()
        await storm.deployment.wait_until_replicated()
        await storm.wait_for_writes(storm.random.randint(20, 60))
        await asyncio.sleep(storm.random.random() * interval_s)  # a random time, on purpose
        victim = ("litestream", "writer", "s3", "all")[number % 4]
        at_s = storm.kill(victim)
        if victim in {"s3", "all"}:
            storm.deployment.s3.start()
        if victim in {"writer", "s3"}:  # litestream runs: nothing may be lost
            await storm.deployment.wait_until_replicated()
            last = await storm.restore(target)
            assert last >= max((n for n, at in storm.committed() if at <= at_s), default=0)
        else:
            await storm.compare(at_s, target)

    storm.start_all()
    await storm.wait_for_writes()
    storm.stop_writer()
    await storm.deployment.wait_until_replicated()
    last = await storm.restore(target)
    assert read_live_content(target) == read_live_content(storm.deployment.path)
    assert last == storm.committed()[-1][0] or last == storm.committed()[-1][0] + 1
    worst, rows = max(storm.windows_s), max(storm.lost)
    print(
        f"\n{ROUNDS} rounds, {last} turns, killed {dict(storm.killed)}; loss window: worst "
        f"{worst:.2f} s ({rows} turns), mean {sum(storm.windows_s) / len(storm.windows_s):.2f} s, "
        f"sync interval {interval_s} s; 101 restores, all intact and complete"
    )
    assert last > 3000
    assert worst <= interval_s + UPLOAD_S
