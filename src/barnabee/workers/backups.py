"""Backups: their schedule on the local runner, and their state as metrics.

Without systemd timers (the local runner sets `BARNABEE_BACKUP_CREDENTIALS`) it also runs the backup
scheduler. On NixOS timers start backups, because only their units have the keys and network access.

A task missed while the machine was off runs some minutes after the start. Tasks run one at a time,
as processes `barnabee backup …` with the lowest priority.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Literal

import structlog

from barnabee.backup import consistent_copy, drill, litestream, recordings_copy, snapshots, status
from barnabee.backup import drill as drill_module
from barnabee.backup.status import next_time_of_day
from barnabee.core.errors import BarnabeeError, DependencyDown
from barnabee.core.schema import System
from barnabee.core.settings import Settings
from barnabee.store.provider import DatabaseProvider
from barnabee.workers.metrics import BackupMetrics

BackupTask = Literal["snapshot", "drill", "audio"]
AFTER_START_S = 600.0  # no tasks while the services start
FIRST_EVER_AFTER_S = 3600.0
RETRY_AFTER_S = 3600.0
STOP_LIMIT_S = 2.0
NICE = 19
MAX_CLOCK_SKEW = timedelta(hours=1)
_REASON_CHARS = 300
LAG_EVERY_S = 5.0
COPIES_EVERY_S = 60.0

log = structlog.get_logger()


@dataclass(frozen=True)
class LastRuns:
    """Time of each task's last run, None for never."""

    snapshot: datetime | None
    drill: datetime | None
    audio: datetime | None


def choose_due_task(
    system: System, last_runs: LastRuns, now: datetime, up_s: float, *, drill_requested: bool
) -> BackupTask | None:
    """Return the most urgent task that is due. Pure; `now` is in the local time zone."""
    if drill_requested:
        return "drill"
    if up_s < AFTER_START_S:
        return None
    backup = system.backup
    daily: tuple[tuple[BackupTask, str, datetime | None], ...] = (
        ("snapshot", backup.snapshot_at, last_runs.snapshot),
        ("drill", backup.drill_at, last_runs.drill),
    )
    for task, time_of_day, last in daily:
        if last is None and up_s >= FIRST_EVER_AFTER_S:
            return task
        if last is not None and last < next_time_of_day(time_of_day, now) - timedelta(days=1):
            return task
    interval = timedelta(seconds=backup.audio_every_s)
    if backup.audio_to and (last_runs.audio is None or now - last_runs.audio >= interval):
        return "audio"
    return None


class BackupScheduler:
    """Starts due tasks, one process at a time."""

    def __init__(
        self,
        system: System,
        settings: Settings,
        *,
        now: Callable[[], datetime] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._system, self._settings, self._clock = system, settings, clock
        self._now = now or partial(status.local_now, settings)
        self._started_s = clock()
        self._failed_at_s: dict[str, float] = {}
        self._process: asyncio.subprocess.Process | None = None
        self._task: asyncio.Task[None] | None = None

    async def step(self) -> None:
        """Start the due task, unless one is running or the task failed less than an hour ago."""
        if self._task is not None and not self._task.done():
            return
        last_runs = await asyncio.to_thread(self._read_last_runs)
        requested = await asyncio.to_thread(status.is_drill_requested, self._settings)
        up_s = self._clock() - self._started_s
        task = choose_due_task(
            self._system, last_runs, self._now(), up_s, drill_requested=requested
        )
        if task is None:
            return
        failed_at_s = self._failed_at_s.get(task)
        failed_recently = failed_at_s is not None and self._clock() - failed_at_s < RETRY_AFTER_S
        if failed_recently and not requested:
            return
        self._task = asyncio.create_task(self._run(task), name=f"backup-{task}")

    async def aclose(self) -> None:
        """Stop the running task; tasks can be interrupted at any time."""
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=STOP_LIMIT_S)
            if self._process is not None and self._process.returncode is None:
                self._process.kill()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self, task: BackupTask) -> None:
        environment = {**os.environ, "CREDENTIALS_DIRECTORY": self._settings.backup_credentials}
        if task == "drill":
            await asyncio.to_thread(status.clear_drill_request, self._settings)
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "barnabee", "backup", task),
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        with suppress(OSError):  # it has ended
            os.setpriority(os.PRIO_PROCESS, self._process.pid, NICE)
        _, errors = await self._process.communicate()
        if self._process.returncode:
            self._failed_at_s[task] = self._clock()
            reason = errors.decode(errors="replace").strip()[-_REASON_CHARS:]
            log.error("backup_task_failed", code="backup_failed", task=task, reason=reason)
        else:
            self._failed_at_s.pop(task, None)
            log.info("backup_task_done", task=task)

    def _read_last_runs(self) -> LastRuns:
        # Ignore times in the future, from a clock that was wrong: tasks would wait until then.
        latest = self._now() + MAX_CLOCK_SKEW
        made_at = snapshots.read_state(self._settings).made_at
        copied = recordings_copy.read_state(self._settings.data_dir)
        path = self._settings.database_path
        try:
            with closing(consistent_copy.connect_live(path, "ro")) as connection:
                last = drill_module.newest_drill(connection)
        except sqlite3.Error:
            last = None
        drilled = datetime.fromisoformat(last.started_at) if last else None
        return LastRuns(
            made_at if made_at and made_at <= latest else None,
            drilled if drilled and drilled <= latest else None,
            copied.copied_before,
        )


class BackupMonitor:
    """Measures backups periodically; `clock` is in seconds since the epoch."""

    def __init__(
        self,
        system: System,
        settings: Settings,
        provider: DatabaseProvider,
        metrics: BackupMetrics,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._system, self._settings, self._provider = system, settings, provider
        self._metrics, self._clock = metrics, clock
        self._behind_since_s: float | None = None
        self._scheduler = BackupScheduler(system, settings) if settings.backup_credentials else None

    async def run_for_ever(self) -> None:
        """Measure until cancelled."""
        copies_at_s = 0.0
        try:
            while True:
                await self._try(self.measure_lag)
                if self._clock() - copies_at_s >= COPIES_EVERY_S:
                    copies_at_s = self._clock()
                    await self._try(self.measure_copies)
                if self._scheduler is not None:
                    await self._try(self._scheduler.step)
                await asyncio.sleep(LAG_EVERY_S)
        finally:
            if self._scheduler is not None:
                await self._scheduler.aclose()

    async def measure_lag(self) -> None:
        """Measure the replica's lag in transactions and in time."""
        if not self._settings.litestream_socket:
            return
        now_s = self._clock()
        try:
            lag = await litestream.measure_lag(
                Path(self._settings.litestream_socket), self._settings.database_path
            )
        except DependencyDown:
            # The number of transactions is unknown, but the time, which alerts use, is known.
            self._metrics.set("lag_transactions", float("nan"))
            self._set_lag_since(now_s)
            return
        self._metrics.set("lag_transactions", lag.transactions)
        if lag.transactions:
            self._set_lag_since(now_s)
        else:
            self._behind_since_s = None
            self._metrics.set("lag_seconds", 0)

    def _set_lag_since(self, now_s: float) -> None:
        if self._behind_since_s is None:
            self._behind_since_s = now_s
        self._metrics.set("lag_seconds", max(0.0, self._clock() - self._behind_since_s))

    async def measure_copies(self) -> None:
        """Export the age of snapshots and recordings' copies, and the results of drills."""
        state = await asyncio.to_thread(snapshots.read_state, self._settings)
        if state.made_at is not None:
            self._metrics.set("last_snapshot_timestamp_seconds", state.made_at.timestamp())
        copied = await asyncio.to_thread(recordings_copy.read_state, self._settings.data_dir)
        if copied.copied_before is not None:
            self._metrics.set("audio_copied_timestamp_seconds", copied.copied_before.timestamp())
        if self._system.backup.audio_to:
            self._metrics.set("audio_failures", copied.failures)
        database = await self._provider.database()
        last, good = await database.read(
            lambda connection: (
                drill.newest_drill(connection),
                drill.newest_drill(connection, successful=True),
            )
        )
        self._metrics.record(last, good)

    async def _try(self, measure: Callable[[], Awaitable[None]]) -> None:
        try:
            await measure()
        except (BarnabeeError, OSError, sqlite3.Error) as error:
            code = error.code if isinstance(error, BarnabeeError) else BarnabeeError.code
            log.warning("backups_not_seen", code=code, reason=str(error))
