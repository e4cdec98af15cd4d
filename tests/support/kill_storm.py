"""Rounds of `kill -9` at random times while turns are written, each followed by a restore.

In each round a process is killed: litestream, the writer (as the api and the worker write), the S3
server, or all of them. Then the replica is restored as after the loss of the disk: it must be
intact and without gaps.
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
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from barnabee.backup import consistent_copy, integrity
from barnabee.backup.replica import LitestreamReplica
from barnabee.store import db
from support.backup import read_live_content
from support.replica import ReplicatedDeployment
from support.wait import wait_until

PER_S = 150
WRITER = Path(__file__).with_name("turn_writer.py")


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
        await wait_until(lambda: len(self.committed()) >= before + count)

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

    async def run_rounds(self, count: int, target: Path) -> None:
        """Kill and restore `count` times, then check that nothing is missing at the end."""
        interval_s = self.deployment.system.replica.sync_interval_ms / 1000
        for number in range(count):
            self.start_all()
            await self.deployment.wait_until_replicated()
            await self.wait_for_writes(self.random.randint(20, 60))
            await asyncio.sleep(self.random.random() * interval_s)  # a random time, on purpose
            victim = ("litestream", "writer", "s3", "all")[number % 4]
            at_s = self.kill(victim)
            if victim in {"s3", "all"}:
                self.deployment.s3.start()
            if victim in {"writer", "s3"}:  # litestream runs: nothing may be lost
                await self.deployment.wait_until_replicated()
                last = await self.restore(target)
                assert last >= max((n for n, at in self.committed() if at <= at_s), default=0)
            else:
                await self.compare(at_s, target)
        await self._check_end(target)
        print(
            f"\n{count} rounds, killed {dict(self.killed)}; loss window: worst "
            f"{max(self.windows_s):.2f} s ({max(self.lost)} turns), sync interval {interval_s} s"
        )

    async def _check_end(self, target: Path) -> None:
        self.start_all()
        await self.wait_for_writes()
        self.stop_writer()
        await self.deployment.wait_until_replicated()
        last = await self.restore(target)
        assert read_live_content(target) == read_live_content(self.deployment.path)
        # the last note of a killed writer may be missing
        assert last - self.committed()[-1][0] in {0, 1}


@contextmanager
def make_storm(deployment: ReplicatedDeployment, notes: Path) -> Iterator[Storm]:
    db.prepare_database(deployment.path)
    storm = Storm(deployment, notes)
    yield storm
    storm.stop_writer()
