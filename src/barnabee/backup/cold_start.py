"""Cold start: restores the database when there is none, and starts empty only without a backup.

The replica comes first. If it is damaged, or empty although there are off-site snapshots, the
newest snapshot that this machine can open is used, and a damaged replica is renamed in its bucket.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TypeVar

import structlog

from barnabee.backup import replica, restore, restore_sources
from barnabee.backup.replica import REQUEST_LIMIT_S, LitestreamReplica
from barnabee.backup.restore_sources import ReplicaSource, RestoreSource
from barnabee.backup.snapshots import ignore_progress
from barnabee.core.errors import (
    BackupDamaged,
    BackupFailed,
    BackupUnreachable,
    Misconfigured,
    NotFound,
    Unavailable,
)
from barnabee.core.schema import System
from barnabee.core.settings import Settings
from barnabee.store import database_files

RETRY_DELAY_S = 1.0
# Part of the start-up budget for checking the copy and reporting the failure.
MARGIN_S = 5.0
# A replica that can be listed but fails to restore so often in a row counts as damaged.
FETCH_ATTEMPTS = 2

T = TypeVar("T")

log = structlog.get_logger()


class ColdStartOutcome(StrEnum):
    """Result of `restore_if_missing`; the value is its text for users."""

    PRESENT = "present"
    RESTORED = "restored"
    SNAPSHOT = "restored from a snapshot, because the replica could not be restored"
    EMPTY = "empty"


async def restore_if_missing(
    system: System,
    settings: Settings,
    *,
    budget_s: float | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> ColdStartOutcome:
    """Restore the database when there is none and there is a backup.

    Retries until `budget_s` (default: the start-up budget of `service.restore`) is nearly over,
    then raises BackupUnreachable; BackupDamaged when neither the replica nor a snapshot holds an
    intact database.
    """
    path = settings.database_path
    if database_files.has_database(path):
        return ColdStartOutcome.PRESENT
    restore.require_directory(path)
    budget_s = budget_s or system.service["restore"].startup_budget_s
    cold = _ColdStart(system, settings, clock() + max(1.0, budget_s - MARGIN_S), clock)
    try:
        if await cold.from_replica():
            return ColdStartOutcome.RESTORED
    except BackupDamaged as error:
        log.error("replica_damaged", code=error.code, reason=str(error))  # noqa: TRY400 - no traceback needed
        await cold.from_snapshot(error)
        await asyncio.to_thread(replica.reset_replica, system, settings, datetime.now(UTC))
        return ColdStartOutcome.SNAPSHOT
    if system.backup.offsite and await cold.from_snapshot(None):
        return ColdStartOutcome.SNAPSHOT
    log.info("replica_is_empty", replica=cold.remote.url)
    return ColdStartOutcome.EMPTY


@dataclass(frozen=True)
class _ColdStart:
    """One restore with a deadline."""

    system: System
    settings: Settings
    deadline_s: float
    clock: Callable[[], float]

    @property
    def remote(self) -> LitestreamReplica:
        return LitestreamReplica(self.system, self.settings)

    async def from_replica(self) -> bool:
        """Restore the replica; returns False when it is empty."""
        remote = self.remote
        for attempt in range(1, FETCH_ATTEMPTS + 1):
            if not await self._retry(lambda limit_s: remote.list_files(limit_s=limit_s)):
                return False
            left_s = max(self.deadline_s - self.clock(), 1.0)
            try:
                await self._restore(ReplicaSource(remote, (), limit_s=left_s))
            except BackupFailed as error:
                step, reason = error.fields["step"], error.fields["reason"]
                if step not in {"fetch", "check", "open"}:
                    raise
                if attempt < FETCH_ATTEMPTS and step == "fetch":
                    log.warning("replica_not_restored", code=error.code, reason=reason)
                    continue
                raise BackupDamaged(url=remote.url, reason=reason) from error
            return True
        return True

    async def from_snapshot(self, damage: BackupDamaged | None) -> bool:
        """Restore the newest snapshot; without any, raise `damage` or return False."""
        try:
            source = await asyncio.to_thread(
                restore_sources.find_snapshot_source, self.system, self.settings
            )
        except NotFound as error:
            if damage is None:
                return False
            raise damage from error
        except Unavailable as error:
            raise damage or BackupUnreachable(
                url=self.system.backup.offsite, reason=str(error)
            ) from error
        except Misconfigured as error:  # no password here opens it
            reason = f"{damage or 'the replica is empty'}; and {error}"
            raise BackupDamaged(url=self.remote.url, reason=reason) from error
        try:
            await self._restore(source)
        except BackupFailed as error:
            reason = f"{damage or 'the replica is empty'}; and {source.name}: {error}"
            raise BackupDamaged(url=self.remote.url, reason=reason) from error
        log.error("snapshot_used", code=BackupDamaged.code, source=source.name)
        return True

    async def _restore(self, source: RestoreSource) -> None:
        await restore.restore_in_place(
            *(self.settings.database_path, source, restore.NoWriters(), ignore_progress), force=True
        )

    async def _retry(self, request: Callable[[float], Awaitable[T]]) -> T:
        """Repeat `request(limit_s)` while the backup is unreachable, until the deadline."""
        while True:
            left_s = self.deadline_s - self.clock()
            try:
                return await request(max(1.0, min(REQUEST_LIMIT_S, left_s)))
            except BackupUnreachable as error:
                if self.clock() + RETRY_DELAY_S >= self.deadline_s:
                    raise
                log.warning("replica_unreachable", code=error.code, reason=str(error))
            await asyncio.sleep(RETRY_DELAY_S)
