"""Backup monitor: replication lag, age of snapshots, restore drills as metrics.

Without systemd timers (the local runner sets `BARNABEE_BACKUP_CREDENTIALS`) it also runs the backup
scheduler. On NixOS timers start backups, because only their units have the keys and network access.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog

from barnabee.backup import drill, litestream, recordings_copy, snapshots
from barnabee.core.errors import BarnabeeError, DependencyDown
from barnabee.core.schema import System
from barnabee.core.settings import Settings
from barnabee.store.provider import DatabaseProvider
from barnabee.workers.backup_scheduler import BackupScheduler
from barnabee.workers.metrics import BackupMetrics

LAG_EVERY_S = 5.0
COPIES_EVERY_S = 60.0

log = structlog.get_logger()


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
