"""A restore, step by step: any failure leaves what was there in place and says where it failed.

The copy is fetched beside the database, checked, opened as the services would, compared, and only
then put in its place in one step. What was there before is moved aside, never deleted.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import structlog

from barnabee.backup import checksums, integrity
from barnabee.backup.restore_sources import Source
from barnabee.core.errors import (
    BackupFailed,
    BadRequest,
    BarnabeeError,
    DatabaseFull,
    SettingInvalid,
)
from barnabee.store import database_files
from barnabee.store.sqlite_errors import MIN_FREE_BYTES, free_bytes

JOURNAL = "restores.jsonl"

Tell = Callable[[str, int, int], None]

log = structlog.get_logger()


def quiet(_step: str, _done: int, _all: int) -> None:
    """Tell nobody."""


class Writers(Protocol):
    """Whoever has the database open: stopped before it is replaced, started afterwards."""

    async def stop(self) -> None:
        """Return when nobody has it open any more."""

    async def start(self) -> None:
        """Start again what was stopped."""


@dataclass(frozen=True)
class Restored:
    """What a restore did."""

    source: str
    aside: Path | None  # where the database that was there is now
    rows: int
    schema: int | None = None
    notes: Sequence[str] = ()  # how it differs from what was there


class Nobody:
    """There are no writers: a cold start, or a copy somewhere else."""

    async def stop(self) -> None:
        """Do nothing."""

    async def start(self) -> None:
        """Do nothing."""


async def in_place(
    database: Path,
    source: Source,
    writers: Writers,
    tell: Tell,
    *,
    force: bool,
    migrate: bool = True,
    before_swap: Callable[[], object] | None = None,
) -> Restored:
    """Put what `source` has in the place of `database`; without `migrate` in its own schema.

    `before_swap` is done once the copy is known to be good.
    BadRequest when there is a database and `force` is unset; BackupFailed names the step.
    """
    require_force(database, force=force)
    require_directory(database)
    copy = database.with_name(f".{database.name}.restoring")
    step = _Step("restore", tell)
    stopped = False
    try:
        async with step("stop"):
            stopped = True
            await writers.stop()
        try:
            rows = await _proven(copy, source, step)
            notes = await asyncio.to_thread(_compared, database, rows)
            schema = None
            if migrate:
                async with step("open"):
                    schema = await asyncio.to_thread(integrity.open_with_application, copy)
            if before_swap is not None:
                async with step("prepare"):
                    await asyncio.to_thread(before_swap)
            async with step("swap"):
                aside = await asyncio.to_thread(database_files.exchange, copy, database)
        finally:
            await asyncio.to_thread(_sweep, copy)
        note(database, source.name, aside)
        return Restored(source.name, aside, sum(rows.values()), schema, notes)
    finally:
        if stopped:
            tell("start", 0, 0)
            await writers.start()


async def elsewhere(target: Path, source: Source, tell: Tell) -> Restored:
    """Write what `source` has to a new file, exactly as it was; BackupFailed names the step."""
    if database_files.taken(target):
        raise BadRequest(field="--to", reason=f"{target} is there already")
    require_directory(target)
    copy = target.with_name(f".{target.name}.restoring")
    step = _Step("restore", tell)
    try:
        rows = await _proven(copy, source, step)
        async with step("swap"):
            await asyncio.to_thread(database_files.exchange, copy, target)
    finally:
        await asyncio.to_thread(_sweep, copy)
    return Restored(source.name, None, sum(rows.values()))


async def _proven(copy: Path, source: Source, step: _Step) -> dict[str, int]:
    """Fetch the copy and return its rows per table, when it is sound and what it should be."""
    async with step("fetch"):
        await asyncio.to_thread(_sweep, copy)
        await source.fetch(copy, step.progress("fetch"))
    async with step("check"):
        await asyncio.to_thread(integrity.check, copy)
    async with step("compare"):
        if source.expected is not None:
            found = await asyncio.to_thread(integrity.read, copy)
            told = checksums.differences(source.expected, found)
            if told:
                raise ValueError("; ".join(told))
        return await asyncio.to_thread(integrity.counts, copy)


class _Step:
    """Names the step in progress, and makes every failure in it a BackupFailed."""

    def __init__(self, what: str, tell: Tell) -> None:
        self._what, self._tell = what, tell

    @asynccontextmanager
    async def __call__(self, name: str) -> AsyncIterator[None]:
        self._tell(name, 0, 0)
        try:
            yield
        except (BarnabeeError, OSError, ValueError, sqlite3.Error) as error:
            log.warning("restore_failed", code=BackupFailed.code, step=name, reason=str(error))
            raise BackupFailed(what=self._what, step=name, reason=_reason(error)) from error

    def progress(self, name: str) -> Callable[[int, int], None]:
        return lambda done, in_all: self._tell(name, done, in_all)


def _reason(error: Exception) -> str:
    return str(error).rstrip(".") or type(error).__name__


def _compared(database: Path, rows: dict[str, int]) -> list[str]:
    """Return how many rows fewer or more there are than there were, if that can still be read."""
    if not database_files.taken(database):
        return []
    try:
        with database_files.seen(database) as connection:
            there = checksums.counts(connection)
    except (sqlite3.Error, OSError):
        return ["what was there could not be read, so it was not compared"]
    changed = {name: rows.get(name, 0) - there.get(name, 0) for name in sorted(rows | there)}
    return [f"{name}: {count:+} rows" for name, count in changed.items() if count]


def note(database: Path, source: str, aside: Path | None) -> None:
    """Write down that the database was restored, for `barnabee backup status`."""
    told = {
        "at": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "source": source,
        "aside": str(aside) if aside else None,
    }
    with (database.parent / JOURNAL).open("a", encoding="utf-8") as file:
        file.write(json.dumps(told) + "\n")
    log.info("database_restored", source=source, before=told["aside"])


def last(database: Path) -> dict[str, str | None] | None:
    """Return the last line of the journal; None when nothing was ever restored here."""
    try:
        lines = (database.parent / JOURNAL).read_text(encoding="utf-8").splitlines()
        found: dict[str, str | None] = json.loads(lines[-1])
    except (OSError, ValueError, IndexError):
        return None
    return found


def require_force(database: Path, *, force: bool) -> None:
    """Raise BadRequest when there is a database that nobody said may be replaced."""
    if database_files.taken(database) and not force:
        reason = f"there is a database at {database}; with --force it is moved aside and kept"
        raise BadRequest(field="command", reason=reason)


def require_directory(path: Path) -> None:
    """Raise SettingInvalid when the data disk is not mounted, DatabaseFull when it is full."""
    if not path.parent.is_dir():
        hint = "create the directory, or mount the data disk"
        raise SettingInvalid(name="DATABASE_PATH", reason=f"{path.parent} is missing", hint=hint)
    if free_bytes(path) < MIN_FREE_BYTES:
        raise DatabaseFull(path=path)


def _sweep(copy: Path) -> None:
    """Delete a copy and what the tools make beside it."""
    for end in ("", "-wal", "-shm", "-journal", ".tmp", ".tmp-wal", ".tmp-shm", "-txid"):
        copy.with_name(copy.name + end).unlink(missing_ok=True)
