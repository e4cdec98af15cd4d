"""Daily snapshot job: makes a snapshot, uploads what is not off-site yet, deletes old snapshots."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import structlog

from barnabee.backup import drill, keys, offsite, snapshots
from barnabee.backup.consistent_copy import ReadTxid, unknown_txid
from barnabee.backup.snapshots import Snapshot, StepProgress, ignore_progress
from barnabee.core.errors import Overloaded
from barnabee.core.files import lock_file
from barnabee.core.schema import System
from barnabee.core.settings import Settings

LOCK_FILE = ".lock"

log = structlog.get_logger()


def run_snapshot_job(
    system: System,
    settings: Settings,
    read_txid: ReadTxid = unknown_txid,
    *,
    on_progress: StepProgress = ignore_progress,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Snapshot:
    """Make, upload and prune snapshots; return the new one. Blocks.

    Without a recovery key the snapshot stays on this machine, unencrypted; SettingMissing if it
    should go off-site. A snapshot that could not be uploaded is uploaded with the next one. While
    the database is collapsed, see `drill.describe_collapse`, no snapshot is deleted.
    Overloaded while another process makes one.
    """
    folder = snapshots.snapshots_folder(settings)
    folder.mkdir(mode=0o770, exist_ok=True)
    busy = Overloaded(what="the snapshot that is being made")
    with lock_file(folder / LOCK_FILE, if_taken=busy):
        snapshots.delete_unfinished(folder)
        snapshots.require_room(settings.database_path, folder)
        made = snapshots.make_snapshot(
            *(settings.database_path, folder, keys.snapshot_recipients(system, folder), read_txid),
            on_progress=on_progress,
            now=now,
        )
        losses = drill.describe_collapse(system, settings, made.content)
        if losses:
            log.error("snapshots_not_pruned", code="backup_failed", reason="; ".join(losses))
        find_expired = partial(
            snapshots.expired_snapshots,
            now=now(),
            days=system.retention.snapshots_days,
            verified=drill.newest_verified_snapshot(settings.database_path),
        )
        if not losses:
            names = [snapshot.name for snapshot in snapshots.list_snapshots(folder)]
            snapshots.delete_snapshots(folder, find_expired(names))
        offsite.require_recovery_key(system, keys.recovery_recipient(system))
        store = offsite.open_offsite(system)
        if store is not None:
            _upload_missing(store, folder, on_progress)
            if not losses:
                store.delete(find_expired(store.list_names()))
    return made


def _upload_missing(store: offsite.OffsiteStore, folder: Path, on_progress: StepProgress) -> None:
    """Upload the encrypted snapshots that are not off-site yet, oldest first."""
    uploaded = set(store.list_names())
    missing = [
        snapshot
        for snapshot in snapshots.list_snapshots(folder)
        if snapshot.encrypted and snapshot.name not in uploaded
    ]
    for number, snapshot in enumerate(missing):
        on_progress("off-site", number, len(missing))
        store.upload(folder, snapshot)
