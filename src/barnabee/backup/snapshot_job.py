"""Daily snapshot job: makes a snapshot, copies what is not off-site yet, deletes old snapshots."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import structlog

from barnabee.backup import consistent_copy, drill, integrity, recovery_kit, restic, snapshots
from barnabee.backup.snapshots import SnapshotState, StepProgress, ignore_progress
from barnabee.core.errors import BackupFailed, DatabaseFull, Overloaded
from barnabee.core.files import lock_file
from barnabee.core.schema import System
from barnabee.core.settings import Settings
from barnabee.store.sqlite_errors import MIN_FREE_BYTES, free_bytes, translate_error

LOCK_FILE, SCRATCH_FOLDER = ".snapshot.lock", ".snapshot"

log = structlog.get_logger()


def run_snapshot_job(
    system: System,
    settings: Settings,
    *,
    on_progress: StepProgress = ignore_progress,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> SnapshotState:
    """Make, copy and prune snapshots; return the new state. Blocks.

    Without restic it makes a plain copy. A snapshot that could not be copied off-site is copied
    with the next one. While the database is collapsed, see `drill.describe_collapse`, no snapshot
    is deleted. Raises Overloaded while another process makes one, DatabaseFull when there is no
    room, BackupFailed naming the step, and restic's errors.
    """
    busy, at = Overloaded(what="the snapshot that is being made"), now().replace(microsecond=0)
    with (
        lock_file(settings.data_dir / LOCK_FILE, if_taken=busy),
        _scratch_folder(settings) as folder,
    ):
        on_progress("dump", 0, 0)
        if missing := restic.describe_missing():
            log.warning("restic_missing", code=BackupFailed.code, reason=missing)
            return _make_plain_copy(settings, at, missing)
        rows = snapshots.write_files(settings.database_path, folder, at)
        losses = drill.describe_collapse(system, settings, rows)
        if losses:
            log.error("snapshots_not_pruned", code=BackupFailed.code, reason="; ".join(losses))
        on_progress("store", 0, 0)
        repository = restic.open_local(settings, restic.make_password(settings))
        repository.make_if_missing()
        made = repository.back_up(folder, at)
        if not losses:
            repository.forget(system.retention.snapshots_days)
        state = replace(
            snapshots.read_state(settings),
            id=made,
            at=at.isoformat(),
            rows=sum(rows.values()),
            bytes=(folder / snapshots.DUMP).stat().st_size,
            count=len(repository.list_snapshots()),
            missing=None,
            kit=recovery_kit.make_digest(system, settings, repository.password),
        )
        snapshots.write_state(settings, state)
        (settings.data_dir / snapshots.PLAIN_COPY).unlink(missing_ok=True)
        log.info("snapshot", id=made, rows=state.rows, bytes=state.bytes, count=state.count)
        _copy_offsite(system, settings, repository, on_progress, prune=not losses)
    return state


def _copy_offsite(
    system: System,
    settings: Settings,
    source: restic.Repository,
    on_progress: StepProgress,
    *,
    prune: bool,
) -> None:
    offsite = restic.open_offsite(system, settings)
    if offsite is None:
        return
    on_progress("off-site", 0, 0)
    offsite.make_if_missing(like=source)
    offsite.copy_missing(source)
    if prune:
        offsite.forget(system.retention.snapshots_days)


def _make_plain_copy(settings: Settings, at: datetime, missing: str) -> SnapshotState:
    """Replace the copy in `plain-copy`, after a check of the new one."""
    target = settings.data_dir / snapshots.PLAIN_COPY
    target.parent.mkdir(mode=0o770, exist_ok=True)
    made = target.with_suffix(".new")
    try:
        with closing(consistent_copy.connect_live(settings.database_path, "ro")) as connection:
            connection.execute("BEGIN")
            consistent_copy.copy_database(connection, made)
        integrity.check_integrity(made)
        rows = sum(integrity.count_file_rows(made).values())
        made.replace(target)
    finally:
        made.unlink(missing_ok=True)
    state = replace(
        snapshots.read_state(settings),
        id=None,
        at=at.isoformat(),
        rows=rows,
        bytes=target.stat().st_size,
        count=1,
        missing=missing,
    )
    snapshots.write_state(settings, state)
    return state


@contextmanager
def _scratch_folder(settings: Settings) -> Iterator[Path]:
    """Make a folder with room for the SQL text, and delete it after the block."""
    database, folder = settings.database_path, settings.data_dir / SCRATCH_FOLDER
    shutil.rmtree(folder, ignore_errors=True)  # left by a run that was killed
    folder.mkdir(mode=0o700)
    try:
        if free_bytes(folder / "x") < 2 * consistent_copy.size_bytes(database) + MIN_FREE_BYTES:
            raise DatabaseFull(path=database)
        yield folder
    except sqlite3.Error as error:
        raise translate_error(error, database) from error
    except (OSError, ValueError) as error:
        raise BackupFailed(what="snapshot", step="dump", reason=str(error)) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
