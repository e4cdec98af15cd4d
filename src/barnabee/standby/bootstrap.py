"""Database bootstrap on the machine that holds the lease, before its services start.

The local database stays when no other machine has written a newer epoch. Otherwise it is set aside
and the newest epoch with data is fetched from its replica. The epoch that this machine holds is
recorded before anything is written.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from barnabee.backup import integrity
from barnabee.backup.cold_start import ColdStartOutcome
from barnabee.core import replica_epoch
from barnabee.core.errors import BackupDamaged, BackupUnreachable, LeaseNotHeld, SettingInvalid
from barnabee.core.schema import System
from barnabee.core.settings import Settings
from barnabee.standby import divergence, replication
from barnabee.store import fence

FOLLOWER_FOLDER = "standby"  # in the database's directory
COPY_NAME = "copy.db"  # the database as the follower has copied it
_FETCHED_NAME = "arriving.db"
_EPOCH_NAME = "line"  # epoch of the followed copy

log = structlog.get_logger()


@dataclass(frozen=True)
class EpochSource:
    """Newest epoch with data, and where its database is."""

    epoch: int
    copy: Path | None  # None: the local database


async def prepare_database(
    system: System, settings: Settings, *, clock_ns: Callable[[], int] = fence.boot_time_ns
) -> ColdStartOutcome:
    """Put the newest database in place; `system` is that of epoch 1.

    Raises LeaseNotHeld without the lease, unless there is a local database, which then is only
    read. BackupUnreachable and BackupDamaged leave everything unchanged.
    """
    data = settings.database_path.parent
    if not data.is_dir():
        hint = "create the directory, or mount the data disk"
        raise SettingInvalid(name="DATABASE_PATH", reason=f"{data} is missing", hint=hint)
    exists = settings.database_path.exists() and settings.database_path.stat().st_size > 0
    try:
        fence.require_permit(Path(settings.lease_dir), clock_ns)
    except LeaseNotHeld:
        if exists:
            return ColdStartOutcome.PRESENT
        raise
    permit = fence.read_permit(Path(settings.lease_dir))
    held = permit.epoch if permit else 1
    local_epoch = replica_epoch.read_epoch(data) if exists else None
    source = await _find_newest(system, settings, held, local_epoch)
    outcome = ColdStartOutcome.PRESENT if exists else ColdStartOutcome.EMPTY
    if source is not None and source.copy is not None:
        await asyncio.to_thread(_replace_database, source.copy, settings.database_path)
        outcome = ColdStartOutcome.RESTORED
    fence.require_permit(Path(settings.lease_dir), clock_ns)  # the fetch may have outlasted it
    replica_epoch.write_epoch(data, held)
    source_epoch = source.epoch if source else None
    log.info("database_prepared", outcome=outcome.value, epoch=held, source_epoch=source_epoch)
    return outcome


async def _find_newest(
    system: System, settings: Settings, held: int, local_epoch: int | None
) -> EpochSource | None:
    """Return the newest epoch with data; for the local epoch the local database is the newest."""
    for epoch in range(held, 0, -1):
        if local_epoch == epoch:
            return EpochSource(epoch, None)
        copy = await _fetch_epoch(system, settings, epoch)
        if copy is not None:
            return EpochSource(epoch, copy)
    return None


async def _fetch_epoch(system: System, settings: Settings, epoch: int) -> Path | None:
    folder = settings.database_path.parent / FOLLOWER_FOLDER
    folder.mkdir(mode=0o770, exist_ok=True)
    followed, fetched = folder / COPY_NAME, folder / _FETCHED_NAME
    try:
        if not await replication.has_data(system, settings, epoch):
            return None
        limit_s = system.service["restore"].startup_budget_s
        await replication.fetch_database(system, settings, epoch, fetched, limit_s=limit_s)
    except (BackupUnreachable, BackupDamaged) as error:
        if _read_followed_epoch(folder) != epoch:
            raise
        log.warning("followed_copy_is_used", code=error.code, reason=str(error), epoch=epoch)
        await asyncio.to_thread(_use_followed_copy, followed, fetched, error)
    return fetched


def _use_followed_copy(
    followed: Path, fetched: Path, error: BackupUnreachable | BackupDamaged
) -> None:
    """Copy the follower's database to `fetched`; raises `error` when that is damaged too."""
    try:
        shutil.copyfile(followed, fetched)
        integrity.check_integrity(fetched)
    except (OSError, ValueError):
        raise error from None


def write_followed_epoch(folder: Path, epoch: int | None) -> None:
    """Record the epoch of the followed copy; None: the copy is incomplete."""
    file = folder / _EPOCH_NAME
    if epoch is None:
        file.unlink(missing_ok=True)
    else:
        file.write_text(f"{epoch}\n", encoding="ascii")


def _read_followed_epoch(folder: Path) -> int | None:
    try:
        return int((folder / _EPOCH_NAME).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def _replace_database(copy: Path, path: Path) -> None:
    divergence.set_aside_database(path, copy)
    copy.replace(path)
