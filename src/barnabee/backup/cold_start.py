"""Cold start: restores the database when there is none, and starts empty only without a backup.

The replica comes first. While the object store refuses or does not answer, it is asked again. Only
if the replica is damaged, which a second read with another client has to confirm, or if it is empty
although there are off-site snapshots, the newest snapshot that this machine can open is used, and a
damaged replica is renamed in its bucket. What was used instead is recorded until an operator
acknowledges it (`barnabee backup acknowledge`).
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

import structlog

from barnabee.backup import restore, restore_sources, store_probe
from barnabee.backup.replica import REQUEST_LIMIT_S, LitestreamReplica
from barnabee.backup.restore_sources import ReplicaSource, RestoreSource
from barnabee.backup.snapshots import ignore_progress
from barnabee.core.errors import (
    BackupDamaged,
    BackupFailed,
    BackupUnreachable,
    Misconfigured,
    NotFound,
    StoreFailed,
    Unavailable,
)
from barnabee.core.files import write_atomically
from barnabee.core.schema import System
from barnabee.core.settings import Settings
from barnabee.store import database_files

# Part of the start-up budget for checking the copy and reporting the failure.
MARGIN_S = 5.0
SUBSTITUTE_FILE = "substitute.json"

log = structlog.get_logger()


class ColdStartOutcome(StrEnum):
    """Result of `restore_if_missing`; the value is its text for users."""

    PRESENT = "present"
    RESTORED = "restored"
    SNAPSHOT = "restored from a snapshot, because the replica could not be restored"
    EMPTY = "empty"


@dataclass(frozen=True)
class Substitute:
    """What was restored instead of the newest state, when, and why."""

    at: str
    source: str
    reason: str


def record_substitute(data: Path, source: str, reason: str) -> None:
    """Record that `source` was used, until `acknowledge_substitute`."""
    entry = Substitute(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}", source, reason)
    text = json.dumps(asdict(entry))
    write_atomically(data / SUBSTITUTE_FILE, text, mode=0o640, durable=True)


def read_substitute(data: Path) -> Substitute | None:
    """Return what was used instead of the newest state; None when nothing was."""
    try:
        return Substitute(**json.loads((data / SUBSTITUTE_FILE).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        return Substitute("", "an unknown copy", f"{SUBSTITUTE_FILE} cannot be read: {error}")


def acknowledge_substitute(data: Path) -> bool:
    """Delete the record; False when there was none."""
    try:
        (data / SUBSTITUTE_FILE).unlink()
    except FileNotFoundError:
        return False
    return True


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
        await asyncio.to_thread(store_probe.reset_replica, system, settings, datetime.now(UTC))
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
        while True:
            try:
                return await self._restore_replica()
            except StoreFailed as error:
                wait_s = float(error.retry_after_s or 1)
                if self.clock() + wait_s >= self.deadline_s:
                    raise BackupUnreachable(reason=str(error)) from error
                log.warning("replica_not_restored", code=error.code, reason=str(error))
            await asyncio.sleep(wait_s)

    async def _restore_replica(self) -> bool:
        """Restore the replica; StoreFailed when that may succeed later."""
        remote = self.remote
        files = await remote.list_files(limit_s=min(REQUEST_LIMIT_S, self._left_s()))
        await remote.require_honest_list(files)
        if not files:
            return False
        try:
            await self._restore(ReplicaSource(remote, (), limit_s=self._left_s(), is_checked=True))
        except BackupFailed as error:
            if isinstance(error.__cause__, StoreFailed | BackupDamaged):
                raise error.__cause__ from error
            raise
        return True

    def _left_s(self) -> float:
        return max(self.deadline_s - self.clock(), 1.0)

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
            raise damage or BackupUnreachable(reason=str(error)) from error
        except Misconfigured as error:  # no password here opens it
            reason = f"{damage or 'the replica is empty'}; and {error}"
            raise BackupDamaged(url=self.remote.url, reason=reason) from error
        try:
            await self._restore(source)
        except BackupFailed as error:
            reason = f"{damage or 'the replica is empty'}; and {source.name}: {error}"
            raise BackupDamaged(url=self.remote.url, reason=reason) from error
        log.error("snapshot_used", code=BackupDamaged.code, source=source.name)
        why = str(damage or f"The replica {self.remote.url} is empty, but there are snapshots.")
        record_substitute(self.settings.data_dir, source.name, why)
        return True

    async def _restore(self, source: RestoreSource) -> None:
        await restore.restore_in_place(
            *(self.settings.database_path, source, restore.NoWriters(), ignore_progress), force=True
        )
