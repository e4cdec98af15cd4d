"""Brings the database back at a cold start, and never puts an empty one where a backup may be.

The replica comes first. When what it gives back is damaged, or it is empty although snapshots went
to the second place, the newest snapshot that this machine can open takes its place, and a damaged
replica is put aside in its bucket.
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

from barnabee.backup import replica_reset, restore, restore_sources
from barnabee.backup.replica import ASK_LIMIT_S, Remote
from barnabee.backup.restore_sources import FromReplica, Source
from barnabee.core.errors import (
    BackupDamaged,
    BackupFailed,
    BackupUnreachable,
    DependencyDown,
    NotFound,
)
from barnabee.core.schema import System
from barnabee.core.settings import Settings
from barnabee.store import database_files

PAUSE_S = 1.0
# What is left of the start-up budget for checking the copy and saying why it failed.
MARGIN_S = 5.0
# A replica that can be listed and not be restored so often in a row is taken to be damaged.
FETCHES = 2

T = TypeVar("T")

log = structlog.get_logger()


class Outcome(StrEnum):
    """What `restore_if_missing` found."""

    PRESENT = "present"
    RESTORED = "restored"
    SNAPSHOT = "restored from a snapshot, because the replica could not give it back"
    EMPTY = "empty"


async def restore_if_missing(
    system: System,
    settings: Settings,
    *,
    budget_s: float | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Outcome:
    """Restore the database when there is none and there is a backup.

    Tries until `budget_s` (default: the start-up budget of `service.restore`) is nearly over, then
    raises BackupUnreachable; BackupDamaged when neither the replica nor a snapshot gives back a
    sound database.
    """
    path = settings.database_path
    if database_files.taken(path):
        return Outcome.PRESENT
    restore.require_directory(path)
    budget_s = budget_s or system.service["restore"].startup_budget_s
    cold = _ColdStart(system, settings, clock() + max(1.0, budget_s - MARGIN_S), clock)
    try:
        if await cold.from_replica():
            return Outcome.RESTORED
    except BackupDamaged as error:
        log.error("replica_damaged", code=error.code, reason=str(error))  # noqa: TRY400 - told whole
        await cold.from_snapshot(error)
        await asyncio.to_thread(replica_reset.put_aside, system, settings, datetime.now(UTC))
        return Outcome.SNAPSHOT
    if system.backup.offsite and await cold.from_snapshot(None):
        return Outcome.SNAPSHOT
    log.info("replica_is_empty", replica=cold.remote.url)
    return Outcome.EMPTY


@dataclass(frozen=True)
class _ColdStart:
    """One try to bring the database back, with a deadline."""

    system: System
    settings: Settings
    deadline_s: float
    clock: Callable[[], float]

    @property
    def remote(self) -> Remote:
        return Remote(self.system, self.settings)

    async def from_replica(self) -> bool:
        """Return whether the replica holds anything, and if so, have it in place."""
        remote = self.remote
        for number in range(1, FETCHES + 1):
            if not await self._insist(lambda limit_s: remote.parts(limit_s=limit_s)):
                return False
            left_s = max(self.deadline_s - self.clock(), 1.0)
            try:
                await self._into_place(FromReplica(remote, (), limit_s=left_s))
            except BackupFailed as error:
                step, reason = error.fields["step"], error.fields["reason"]
                if step not in {"fetch", "check", "open"}:
                    raise
                if number < FETCHES and step == "fetch":
                    log.warning("replica_not_restored", code=error.code, reason=reason)
                    continue
                raise BackupDamaged(url=remote.url, reason=reason) from error
            return True
        return True

    async def from_snapshot(self, damage: BackupDamaged | None) -> bool:
        """Have the newest snapshot in place; without any, raise `damage` or return False."""
        try:
            source = await asyncio.to_thread(
                restore_sources.from_snapshot, self.system, self.settings
            )
        except NotFound as error:
            if damage is None:
                return False
            raise damage from error
        except DependencyDown as error:
            raise damage or BackupUnreachable(
                url=self.system.backup.offsite, reason=str(error)
            ) from error
        try:
            await self._into_place(source)
        except BackupFailed as error:
            reason = f"{damage or 'the replica is empty'}; and {source.name}: {error}"
            raise BackupDamaged(url=self.remote.url, reason=reason) from error
        log.error("snapshot_used", code=BackupDamaged.code, source=source.name)
        return True

    async def _into_place(self, source: Source) -> None:
        database = self.settings.database_path
        writers = restore.Nobody()
        await restore.in_place(database, source, writers, restore.quiet, force=True)

    async def _insist(self, ask: Callable[[float], Awaitable[T]]) -> T:
        while True:
            left_s = self.deadline_s - self.clock()
            try:
                return await ask(max(1.0, min(ASK_LIMIT_S, left_s)))
            except BackupUnreachable as error:
                if self.clock() + PAUSE_S >= self.deadline_s:
                    raise
                log.warning("replica_unreachable", code=error.code, reason=str(error))
            await asyncio.sleep(PAUSE_S)
