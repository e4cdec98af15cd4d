"""Restore of the database, step by step; a failed step leaves the existing database in place.

The copy is fetched beside the database, checked, opened as the services would, compared, and then
renamed over it. The previous database is moved aside, never deleted.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Protocol

import structlog

from barnabee.backup import integrity
from barnabee.backup.consistent_copy import ByteProgress
from barnabee.backup.restore_sources import RestoreSource
from barnabee.backup.snapshots import StepProgress
from barnabee.core.errors import (
    BackupFailed,
    BadRequest,
    BarnabeeError,
    DatabaseFull,
    SettingInvalid,
)
from barnabee.store import database_files
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

    `before_swap` is called when the copy has passed all checks. Raises BadRequest when there is a
    database and `force` is unset, BackupFailed naming the step.
    """
    require_force(database, force=force)
    require_directory(database)
    copy = database.with_name(f".{database.name}.restoring")
    step = _StepReporter("restore", on_progress)
    stopped = False
    try:
        async with step("stop"):
            stopped = True
            await writers.stop()
        try:
            rows = await _fetch_verified(copy, source, step)
            notes = await asyncio.to_thread(_describe_changes, database, rows)
            schema = None
            if migrate:
                async with step("open"):
                    schema = await asyncio.to_thread(integrity.open_with_application, copy)
            if before_swap is not None:
                async with step("prepare"):
                    await asyncio.to_thread(before_swap)
            async with step("swap"):
                previous = await asyncio.to_thread(database_files.replace_database, copy, database)
        finally:
            await asyncio.to_thread(_delete_copy, copy)
        record_restore(database, source.name, previous)
        return RestoreResult(source.name, previous, sum(rows.values()), schema, notes)
    finally:
        if stopped:
            on_progress("start", 0, 0)
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
        rows = await _fetch_verified(copy, source, step)
        async with step("swap"):
            await asyncio.to_thread(database_files.replace_database, copy, target)
    finally:
        await asyncio.to_thread(_delete_copy, copy)
    return RestoreResult(source.name, None, sum(rows.values()))


async def _fetch_verified(copy: Path, source: RestoreSource, step: _StepReporter) -> dict[str, int]:
    """Fetch and check the copy; return its row counts by table."""
    async with step("fetch"):
        await asyncio.to_thread(_delete_copy, copy)
        await source.fetch(copy, step.byte_progress("fetch"))
    async with step("check"):
        await asyncio.to_thread(integrity.check_integrity, copy)
        return await asyncio.to_thread(integrity.count_file_rows, copy)


class _StepReporter:
    """Reports each step and raises its failure as BackupFailed."""

    def __init__(self, what: str, on_progress: StepProgress) -> None:
        self._what, self._on_progress = what, on_progress

    @asynccontextmanager
    async def __call__(self, name: str) -> AsyncIterator[None]:
        self._on_progress(name, 0, 0)
        try:
            yield
        except (BarnabeeError, OSError, ValueError, sqlite3.Error) as error:
            log.warning("restore_failed", code=BackupFailed.code, step=name, reason=str(error))
            raise BackupFailed(what=self._what, step=name, reason=_error_reason(error)) from error

    def byte_progress(self, name: str) -> ByteProgress:
        return partial(self._on_progress, name)


def _error_reason(error: Exception) -> str:
    return str(error).rstrip(".") or type(error).__name__


def _describe_changes(database: Path, rows: dict[str, int]) -> list[str]:
    """Return a sentence for each table whose row count changes."""
    if not database_files.has_database(database):
        return []
    try:
        with database_files.open_read_only(database) as connection:
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
