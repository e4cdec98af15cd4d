"""Before the services start on the machine that may write: the right database, in its own line.

The database of this machine is the right one when nothing newer was written by another. Otherwise
it is set aside and the newest line that holds anything is fetched. Then, and before a byte is
written, the database is noted to be of the line that this machine holds.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import structlog

from barnabee.backup import integrity
from barnabee.backup.cold_start import Outcome
from barnabee.core import replica_epoch
from barnabee.core.errors import BackupDamaged, BackupUnreachable, NotTheHolder, SettingInvalid
from barnabee.core.schema import System
from barnabee.core.settings import Settings
from barnabee.standby import divergence, replica_fetch
from barnabee.store import fence
from barnabee.store.database_files import move_aside

# What the stand-by follows lies here, in the directory of the database.
FOLDER = "standby"
COPY = "copy.db"
_ARRIVING = "arriving.db"

log = structlog.get_logger()


@dataclass(frozen=True)
class Line:
    """The line that a database was found in, and the copy of it."""

    number: int
    copy: Path | None  # None: it is the one that is in place


async def settle(
    system: System, settings: Settings, *, clock_ns: Callable[[], int] = fence.now_ns
) -> Outcome:
    """Make the database of this machine the one to go on with; `system` is that of line 1.

    Without the lease only a database that is there already is of use: NotTheHolder otherwise.
    BackupUnreachable and BackupDamaged as for a restore; then nothing was changed.
    """
    data = settings.database_path.parent
    if not data.is_dir():
        hint = "create the directory, or mount the data disk"
        raise SettingInvalid(name="DATABASE_PATH", reason=f"{data} is missing", hint=hint)
    there = settings.database_path.exists() and settings.database_path.stat().st_size > 0
    try:
        fence.require(Path(settings.lease_dir), clock_ns)
    except NotTheHolder:
        if there:
            return Outcome.PRESENT  # to be read, and answered from; the fence is shut
        raise
    permit = fence.read(Path(settings.lease_dir))
    held = permit.epoch if permit else 1
    found = await _newest(system, settings, held, replica_epoch.read(data) if there else None)
    outcome = Outcome.PRESENT if there else Outcome.EMPTY
    if found is not None and found.copy is not None:
        await asyncio.to_thread(_into_place, found.copy, settings.database_path)
        outcome = Outcome.RESTORED
    fence.require(Path(settings.lease_dir), clock_ns)  # fetching may have taken long
    replica_epoch.write(data, held)
    log.info("database_settled", outcome=outcome.value, line=held, of=found and found.number)
    return outcome


async def _newest(
    system: System, settings: Settings, held: int, own_line: int | None
) -> Line | None:
    """Return the newest line that holds anything; of one's own line the database is the newest."""
    for number in range(held, 0, -1):
        if own_line == number:
            return Line(number, None)
        copy = await _fetched(system, settings, number)
        if copy is not None:
            return Line(number, copy)
    return None


async def _fetched(system: System, settings: Settings, number: int) -> Path | None:
    folder = settings.database_path.parent / FOLDER
    folder.mkdir(mode=0o770, exist_ok=True)
    followed, arriving = folder / COPY, folder / _ARRIVING
    try:
        if not await replica_fetch.there_is_one(system, settings, number):
            return None
        limit_s = system.service["restore"].startup_budget_s
        await replica_fetch.fetch(system, settings, number, arriving, limit_s=limit_s)
    except (BackupUnreachable, BackupDamaged) as error:
        if _followed_line(folder) != number:
            raise
        log.warning("followed_copy_is_used", code=error.code, reason=str(error), line=number)
        await asyncio.to_thread(_take, followed, arriving, error)
    return arriving


def _take(followed: Path, arriving: Path, error: BackupUnreachable | BackupDamaged) -> None:
    """Use what was followed, if it is sound; otherwise what went wrong before stays the reason."""
    try:
        shutil.copyfile(followed, arriving)
        integrity.check(arriving)
    except (OSError, ValueError):
        raise error from None


def note_followed_line(folder: Path, number: int | None) -> None:
    """Remember which line the followed copy is of; None: of none."""
    file = folder / "line"
    if number is None:
        file.unlink(missing_ok=True)
    else:
        file.write_text(f"{number}\n", encoding="ascii")


def _followed_line(folder: Path) -> int | None:
    try:
        return int((folder / "line").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def set_aside(path: Path, new: Path) -> Path | None:
    """Move the database at `path` into a folder, and name what of it is not in `new` (blocks)."""
    folder = move_aside(path, datetime.now(UTC))
    if folder is None:
        return None
    try:
        missing = divergence.rows_missing(folder / path.name, new)
    except ValueError as error:
        log.warning("rows_not_compared", folder=str(folder), reason=str(error))
        return folder
    divergence.name(folder, missing)
    counts = {table: len(ids) for table, ids in missing.items()}
    log.warning("database_set_aside", folder=str(folder), unreplicated=counts)
    return folder


def _into_place(copy: Path, path: Path) -> None:
    set_aside(path, copy)
    copy.replace(path)
