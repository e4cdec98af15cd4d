"""Brings the database back from its replica, and never puts an empty one where a backup may be.

The copy is fetched beside the database, checked, and only then put in its place in one step. What
was there before is moved aside, never deleted.
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

import structlog

from barnabee.core.errors import (
    BackupDamaged,
    BackupUnreachable,
    BadRequest,
    NotFound,
    SettingInvalid,
)
from barnabee.core.settings import Settings
from barnabee.core.tables import System
from barnabee.store import disk, litestream

# Asking what there is takes one round trip; litestream itself would try for minutes.
ASK_LIMIT_S = 15.0
PAUSE_S = 1.0
# What is left of the start-up budget for checking the copy and saying why it failed.
MARGIN_S = 5.0
LAST_WORDS_CHARS = 300

log = structlog.get_logger()


class Outcome(StrEnum):
    """What `restore_if_missing` found."""

    PRESENT = "present"
    RESTORED = "restored"
    EMPTY = "empty"


async def restore_if_missing(
    system: System,
    settings: Settings,
    *,
    budget_s: float | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Outcome:
    """Restore the database when there is none and the replica has one.

    Tries until `budget_s` (default: the start-up budget of `service.restore`) is nearly over, then
    raises BackupUnreachable; BackupDamaged when what comes back is not a sound database.
    """
    path = settings.database_path
    if path.exists() and path.stat().st_size:
        return Outcome.PRESENT
    _require_directory(path)
    budget_s = budget_s or system.service["restore"].startup_budget_s
    fetch = _Fetch(system, settings, clock() + max(1.0, budget_s - MARGIN_S), clock)
    if not await fetch.there_is_one():
        log.info("replica_is_empty", replica=fetch.url)
        return Outcome.EMPTY
    await fetch.into_place()
    return Outcome.RESTORED


async def restore(
    system: System,
    settings: Settings,
    *,
    force: bool,
    at: str | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Path | None:
    """Put the newest backup (or that of the moment `at`, RFC 3339) in the database's place.

    The services that use it must be stopped. Returns where the database that was there is now.
    With `force` unset an existing database is left alone (BadRequest). Raises NotFound when the
    replica is empty, BackupUnreachable, BackupDamaged; then nothing has changed.
    """
    path = settings.database_path
    if path.exists() and path.stat().st_size and not force:
        reason = f"there is a database at {path}; with --force it is moved aside and kept"
        raise BadRequest(field="command", reason=reason)
    _require_directory(path)
    budget_s = system.service["restore"].startup_budget_s
    fetch = _Fetch(system, settings, clock() + budget_s, clock, at)
    if not await fetch.there_is_one():
        raise NotFound(what=f"backup in {fetch.url}")
    return await fetch.into_place()


def check_copy(path: Path) -> None:
    """Raise ValueError with what is wrong with the database file at `path` (blocks)."""
    try:
        # immutable: nobody else has this copy, and no file is made beside it
        uri = f"{path.absolute().as_uri()}?immutable=1"
        with closing(sqlite3.connect(uri, uri=True)) as connection:
            found = [row[0] for row in connection.execute("PRAGMA integrity_check(5)")]
            if found != ["ok"]:
                raise ValueError("; ".join(map(str, found)))
            broken = connection.execute("PRAGMA foreign_key_check").fetchone()
            if broken is not None:
                raise ValueError(f"a row of {broken[0]} refers to one of {broken[2]} that is gone")
    except sqlite3.Error as error:
        raise ValueError(str(error)) from error


def move_aside(path: Path, now: datetime) -> Path | None:
    """Move the database and everything that belongs to it into a folder of its own; return it.

    Its log and litestream's own notes go too: beside another database they would spoil it.
    """
    parts = [path, *(path.with_name(path.name + end) for end in ("-wal", "-shm", "-journal"))]
    parts.append(path.with_name(f".{path.name}-litestream"))
    there = [part for part in parts if part.exists()]
    if not there:
        return None
    folder = path.parent / f"{path.name}.before-restore-{now:%Y%m%dT%H%M%S.%fZ}"
    folder.mkdir(mode=0o700)
    for part in there:
        part.rename(folder / part.name)
    return folder


@dataclass(frozen=True)
class _Fetch:
    """One restore: asks, fetches, checks, puts into place."""

    system: System
    settings: Settings
    deadline_s: float
    clock: Callable[[], float]
    at: str | None = None

    @property
    def url(self) -> str:
        return litestream.replica_url(self.system, self.settings)

    async def there_is_one(self) -> bool:
        """Return whether the replica holds anything; asks until the deadline."""
        path = str(self.settings.database_path)
        answer = await self._insist("ltx", "-level", "all", "-json", path, limit_s=ASK_LIMIT_S)
        return bool(json.loads(answer or "[]"))

    async def into_place(self) -> Path | None:
        path = self.settings.database_path
        copy = path.with_name(f".{path.name}.restoring")
        moment = ("-timestamp", self.at) if self.at else ()
        left_s = self.deadline_s - self.clock()
        await self._insist(
            "restore", "-force", *moment, "-o", str(copy), str(path), limit_s=max(left_s, 1.0)
        )
        try:
            await asyncio.to_thread(check_copy, copy)
        except ValueError as error:
            raise BackupDamaged(url=self.url, reason=str(error)) from error
        aside = await asyncio.to_thread(_exchange, copy, path)
        log.info("database_restored", replica=self.url, before=str(aside) if aside else None)
        return aside

    async def _insist(self, *arguments: str, limit_s: float) -> str:
        while True:
            left_s = self.deadline_s - self.clock()
            try:
                return await self._run(*arguments, limit_s=max(1.0, min(limit_s, left_s)))
            except BackupUnreachable as error:
                if self.clock() + PAUSE_S >= self.deadline_s:
                    raise
                log.warning("replica_unreachable", code=error.code, reason=str(error))
            await asyncio.sleep(PAUSE_S)

    async def _run(self, command: str, *arguments: str, limit_s: float) -> str:
        text = litestream.litestream_config(
            self.system, self.settings, self.settings.database_path, None
        )
        with tempfile.NamedTemporaryFile("w", suffix=".yml") as config:
            config.write(text)
            config.flush()
            process = await asyncio.create_subprocess_exec(
                litestream.program(),
                *(command, "-config", config.name, "-no-expand-env", *arguments),
                env=litestream.own_environment(),
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            try:
                async with asyncio.timeout(limit_s):
                    output, errors = await process.communicate()
            except TimeoutError as error:
                reason = f"no answer within {limit_s:.0f} s"
                raise BackupUnreachable(url=self.url, reason=reason) from error
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
        if process.returncode:
            reason = errors.decode(errors="replace").strip()[-LAST_WORDS_CHARS:]
            raise BackupUnreachable(url=self.url, reason=reason or "litestream gave no reason")
        return output.decode()


def _exchange(copy: Path, path: Path) -> Path | None:
    """Put `copy` where `path` is, for good: also when the power fails right after."""
    aside = move_aside(path, datetime.now(UTC))
    copy.chmod(disk.SHARED_MODE)  # all of the house's users write it
    with copy.open("rb") as file:
        os.fsync(file.fileno())
    copy.replace(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
    return aside


def _require_directory(path: Path) -> None:
    if not path.parent.is_dir():
        hint = "create the directory, or mount the data disk"
        raise SettingInvalid(name="DATABASE_PATH", reason=f"{path.parent} is missing", hint=hint)
