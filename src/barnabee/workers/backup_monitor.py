"""Watches the backups: lag, age of the copies, the last drill, calls; as metrics.

On a machine without systemd timers (`BARNABEE_BACKUP_CREDENTIALS` is set by the local runner) it
also starts the daily snapshot, the nightly drill and the copying of recordings, each as a process
of its own that steps back for everybody else. On NixOS timers do, because only those units have the
keys and may talk to the world.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import structlog

from barnabee.backup import (
    api_usage,
    drill_log,
    litestream,
    recordings_copy,
    snapshot_job,
    snapshots,
)
from barnabee.backup.api_usage import Look
from barnabee.core.errors import BarnabeeError, DependencyDown
from barnabee.core.schema import System
from barnabee.core.settings import Settings
from barnabee.store.provider import Keeper
from barnabee.workers.backup_metrics import CALLS, BackupMetrics
from barnabee.workers.backup_scheduler import Rounds

LAG_EVERY_S = 5.0
# Closer together than the shortest window in which litestream joins transactions (calls.between).
LOOK_EVERY_S = 60.0

log = structlog.get_logger()


class Backups:
    """Looks again and again until cancelled."""

    def __init__(
        self,
        system: System,
        settings: Settings,
        keeper: Keeper,
        metrics: BackupMetrics,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Know nothing yet; `clock` is in seconds since the epoch."""
        self._system, self._settings, self._keeper = system, settings, keeper
        self._metrics, self._clock = metrics, clock
        self._behind_since_s: float | None = None
        self._before: Look | None = None
        self._rounds = Rounds(system, settings) if settings.backup_credentials else None

    async def run_for_ever(self) -> None:
        """Look until cancelled."""
        looked_s = 0.0
        try:
            while True:
                await self._watch(self.look_at_lag)
                if self._clock() - looked_s >= LOOK_EVERY_S:
                    looked_s = self._clock()
                    await self._watch(self.look_at_copies)
                    await self._watch(self.count_calls)
                if self._rounds is not None:
                    await self._watch(self._rounds.step)
                await asyncio.sleep(LAG_EVERY_S)
        finally:
            if self._rounds is not None:
                await self._rounds.aclose()

    async def look_at_lag(self) -> None:
        """Measure how far the replica is behind, in transactions and in time."""
        if not self._settings.litestream_socket:
            return
        now_s = self._clock()
        try:
            lag = await litestream.lag(
                Path(self._settings.litestream_socket), self._settings.database_path
            )
        except DependencyDown:
            # Nobody knows how many transactions, but since when: that is what alerts look at.
            self._metrics.set("lag_transactions", float("nan"))
            self._fell_behind(now_s)
            return
        self._metrics.set("lag_transactions", lag.txids)
        if lag.txids:
            self._fell_behind(now_s)
        else:
            self._behind_since_s = None
            self._metrics.set("lag_seconds", 0)

    def _fell_behind(self, now_s: float) -> None:
        if self._behind_since_s is None:
            self._behind_since_s = now_s
        self._metrics.set("lag_seconds", max(0.0, self._clock() - self._behind_since_s))

    async def look_at_copies(self) -> None:
        """Tell how old the newest snapshot is and what the last drill found."""
        here = await asyncio.to_thread(snapshots.every, snapshot_job.folder_of(self._settings))
        if here:
            self._metrics.set("last_snapshot_timestamp_seconds", here[-1].at.timestamp())
        copied = await asyncio.to_thread(recordings_copy.state, self._settings.data_dir)
        if copied.before is not None:
            self._metrics.set("audio_copied_timestamp_seconds", copied.before.timestamp())
        if self._system.backup.audio_to:
            self._metrics.set("audio_failures", copied.failures)
        database = await self._keeper.database()
        last, good = await database.read(
            lambda connection: (
                drill_log.newest(connection),
                drill_log.newest(connection, good=True),
            )
        )
        self._metrics.record(last, good)

    async def count_calls(self) -> None:
        """Count what litestream asked of the object store since the last look."""
        now = self._clock()
        look = await self._look(now)
        if look is None:
            return
        day = datetime.fromtimestamp(now, UTC).date()
        before, self._before = self._before, look

        def add(ledger: api_usage.Ledger) -> None:
            a, b, c = api_usage.between(self._system.replica, before, look, ledger.files)
            ledger.add(day, a=a, b=b, c=c)

        ledger = await asyncio.to_thread(api_usage.change, self._settings.data_dir, add)
        today = ledger.of(day)
        for kind, count in (("a", today.a), ("b", today.b), ("c", today.c)):
            self._metrics.set(CALLS, count, kind)

    async def _look(self, now_s: float) -> Look | None:
        port = self._system.port("litestream")
        with suppress(OSError, TimeoutError, ValueError, DependencyDown):
            text = await litestream.metrics(self._settings.bind, port)
            socket = Path(self._settings.litestream_socket)
            lag = await litestream.lag(socket, self._settings.database_path)
            return api_usage.read_metrics(text, now_s, lag.local_txid)
        return None

    async def _watch(self, work: Callable[[], object]) -> None:
        try:
            await work()  # type: ignore[misc]
        except (BarnabeeError, OSError, sqlite3.Error) as error:
            code = error.code if isinstance(error, BarnabeeError) else BarnabeeError.code
            log.warning("backups_not_seen", code=code, reason=str(error))
