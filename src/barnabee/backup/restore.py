"""Restore of the database, step by step; a failed step leaves the existing database in place.

The copy is fetched beside the database, checked and opened as the services would. Only then do the
services stop, for as long as it takes to move the database aside and to rename the copy. What they
wrote meanwhile is in the database that was moved aside.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

import structlog

from barnabee.backup import integrity, store_probe
from barnabee.backup.consistent_copy import ByteProgress
from barnabee.backup.restore_sources import RestoreSource
from barnabee.backup.snapshots import StepProgress
from barnabee.core.errors import (
    BackupFailed,
    BadRequest,
    BarnabeeError,
    DatabaseFull,
    DependencyDown,
    SettingInvalid,
)
from barnabee.core.schema import System
from barnabee.core.settings import Settings
from barnabee.store import database_files
from barnabee.store.database_files import SetAside
from barnabee.store.sqlite import MIN_FREE_BYTES, free_bytes

RESTORE_LOG = "restores.jsonl"

log = structlog.get_logger()


class Writers(Protocol):
    """The services that have the database open."""

    async def stop(self) -> None:
        """Stop them; returns when the database is closed."""

    async def start(self) -> None:
        """Start those that `stop` stopped."""


class NoWriters:
    """`Writers` where no service runs: a cold start, or a copy to another file."""

    async def stop(self) -> None:
        pass

    async def start(self) -> None:
        pass


@dataclass(frozen=True)
class RestoreResult:
    """Result of a restore."""

    source: str
    previous_path: Path | None  # folder of the previous database
    rows: int
    schema: int | None = None
    notes: Sequence[str] = ()  # differences from the previous database


async def restore_in_place(
    database: Path,
    source: RestoreSource,
    writers: Writers,
    on_progress: StepProgress,
    *,
    force: bool,
    migrate: bool = True,
    before_swap: Callable[[], object] | None = None,
) -> RestoreResult:
    """Replace `database` by the copy in `source`; without `migrate` it keeps its schema.

    `before_swap` is called when the copy has passed all checks and the writers are stopped. Raises
    BadRequest when there is a database and `force` is unset, BackupFailed naming the step.
    """
    require_force(database, force=force)
    require_directory(database)
    copy = database.with_name(f".{database.name}.restoring")
    step = _StepReporter("restore", on_progress)
    try:
        rows = await _fetch_verified(copy, source, step, database)
        schema = None
        if migrate:
            async with step("open"):
                schema = await asyncio.to_thread(integrity.open_with_application, copy)
        async with _stopped(writers, step):
            if before_swap is not None:
                async with step("prepare"):
                    await asyncio.to_thread(before_swap)
            async with step("swap"):
                previous = await asyncio.to_thread(database_files.replace_database, copy, database)
    finally:
        await asyncio.to_thread(_delete_copy, copy)
    record_restore(database, source.name, previous)
    notes = await asyncio.to_thread(_describe_changes, previous, database.name, rows)
    return RestoreResult(source.name, previous, sum(rows.values()), schema, notes)


@asynccontextmanager
async def _stopped(writers: Writers, step: _StepReporter) -> AsyncIterator[None]:
    """Stop the writers for the block; they are started again whatever happens."""
    try:
        async with step("stop"):
            await writers.stop()
        yield
    finally:
        step.report("start")
        await writers.start()


async def restore_to_file(
    target: Path, source: RestoreSource, on_progress: StepProgress
) -> RestoreResult:
    """Write the copy in `source` to a new file, unchanged; BackupFailed names the step."""
    if database_files.has_database(target):
        raise BadRequest(field="--to", reason=f"{target} exists already")
    require_directory(target)
    copy = target.with_name(f".{target.name}.restoring")
    step = _StepReporter("restore", on_progress)
    try:
        rows = await _fetch_verified(copy, source, step, target)
        async with step("swap"):
            await asyncio.to_thread(database_files.replace_database, copy, target)
    finally:
        await asyncio.to_thread(_delete_copy, copy)
    return RestoreResult(source.name, None, sum(rows.values()))


async def _fetch_verified(
    copy: Path, source: RestoreSource, step: _StepReporter, database: Path
) -> dict[str, int]:
    """Fetch and check the copy; return its row counts by table."""
    async with step("space"):
        await asyncio.to_thread(_delete_copy, copy)
        needed = await asyncio.to_thread(source.estimate_bytes, database)
        if needed + MIN_FREE_BYTES > free_bytes(copy):
            raise ValueError(describe_space(needed, database))
    async with step("fetch"):
        await source.fetch(copy, step.byte_progress("fetch", needed))
    async with step("check"):
        await asyncio.to_thread(integrity.check_integrity, copy)
        return await asyncio.to_thread(integrity.count_file_rows, copy)


class _StepReporter:
    """Reports each step and raises its failure as BackupFailed."""

    def __init__(self, what: str, on_progress: StepProgress) -> None:
        self._what, self._on_progress = what, on_progress

    def report(self, name: str) -> None:
        self._on_progress(name, 0, 0)

    @asynccontextmanager
    async def __call__(self, name: str) -> AsyncIterator[None]:
        self.report(name)
        try:
            yield
        except (BarnabeeError, OSError, ValueError, sqlite3.Error) as error:
            log.warning("restore_failed", code=BackupFailed.code, step=name, reason=str(error))
            raise BackupFailed(what=self._what, step=name, reason=_error_reason(error)) from error

    def byte_progress(self, name: str, total: int) -> ByteProgress:
        """Return a function that reports bytes of `total` where the source does not know it."""
        return lambda done, known: self._on_progress(name, done, known or max(done, total))


def _error_reason(error: Exception) -> str:
    return str(error).rstrip(".") or type(error).__name__


def describe_space(needed: int, database: Path) -> str:
    """Return what a fetch of `needed` bytes beside `database` needs, and what is free."""
    free_gb = free_bytes(database) / 1e9
    return f"it needs {needed / 1e9:.2f} GB in {database.parent}, where {free_gb:.2f} GB are free"


def _describe_changes(previous: Path | None, name: str, rows: dict[str, int]) -> list[str]:
    """Return a sentence for each table whose row count differs from the database moved aside."""
    if previous is None or not database_files.has_database(previous / name):
        return []
    try:
        with database_files.open_read_only(previous / name) as connection:
            before = integrity.count_rows(connection)
    except (sqlite3.Error, OSError):
        return ["the previous database could not be read, so it was not compared"]
    changes = {name: rows.get(name, 0) - before.get(name, 0) for name in sorted(rows | before)}
    return [f"{name}: {change:+} rows" for name, change in changes.items() if change]


def record_restore(database: Path, source: str, previous: Path | None) -> None:
    """Append the restore to the restore log, which `barnabee backup status` reads."""
    entry = {
        "at": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "source": source,
        "aside": str(previous) if previous else None,
    }
    with (database.parent / RESTORE_LOG).open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry) + "\n")
    log.info("database_restored", source=source, before=entry["aside"])


def read_last_restore(database: Path) -> dict[str, str | None] | None:
    """Return the last entry of the restore log, None when there is none."""
    try:
        lines = (database.parent / RESTORE_LOG).read_text(encoding="utf-8").splitlines()
        entry: dict[str, str | None] = json.loads(lines[-1])
    except (OSError, ValueError, IndexError):
        return None
    return entry


def list_set_aside(system: System, settings: Settings) -> tuple[list[SetAside], list[SetAside]]:
    """Return what was set aside, on disk and in the bucket; DependencyDown (blocks)."""
    local = database_files.list_set_aside(settings.database_path)
    return local, store_probe.list_set_aside(system, settings)


def expires_at(entry: SetAside, system: System) -> datetime | None:
    """Return when a drill may delete what was set aside; None: never, it has the only rows."""
    days = timedelta(days=system.retention.set_aside_days)
    return None if entry.has_only_rows else entry.at + days


def delete_expired(system: System, settings: Settings, now: datetime) -> None:
    """Delete what was set aside before `retention.set_aside_days` (blocks).

    Called after a successful drill, so that there are copies that can be restored.
    """
    try:
        local, remote = list_set_aside(system, settings)
        for entry in (*local, *remote):
            at = expires_at(entry, system)
            if at is not None and at <= now:
                delete_set_aside(system, settings, entry)
    except (DependencyDown, OSError) as error:
        log.warning("set_aside_not_deleted", code=DependencyDown.code, reason=str(error))


def delete_set_aside(system: System, settings: Settings, entry: SetAside) -> None:
    """Delete an entry of `list_set_aside` from disk or bucket (blocks)."""
    if entry.is_in_bucket:
        store_probe.delete_set_aside(system, settings, entry.name)
    else:
        database_files.delete_set_aside(settings.database_path, entry.name)


def require_force(database: Path, *, force: bool) -> None:
    """Raise BadRequest when there is a database and `force` is unset."""
    if database_files.has_database(database) and not force:
        reason = f"there is a database at {database}; with --force it is moved aside and kept"
        raise BadRequest(field="command", reason=reason)


def require_directory(path: Path) -> None:
    """Raise SettingInvalid when the data disk is not mounted, DatabaseFull when it is full."""
    if not path.parent.is_dir():
        hint = "create the directory, or mount the data disk"
        raise SettingInvalid(name="DATABASE_PATH", reason=f"{path.parent} is missing", hint=hint)
    if free_bytes(path) < MIN_FREE_BYTES:
        raise DatabaseFull(path=path)


def _delete_copy(copy: Path) -> None:
    """Delete a copy and what SQLite and litestream make beside it."""
    for end in ("", "-wal", "-shm", "-journal", ".tmp", ".tmp-wal", ".tmp-shm", "-txid"):
        copy.with_name(copy.name + end).unlink(missing_ok=True)
