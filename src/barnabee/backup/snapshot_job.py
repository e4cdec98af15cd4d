"""Daily snapshot job, and the recovery kit that it keeps current.

The kit has the address of the repository, its password, rclone's configuration where there is one,
and the commands. A digest of the first three shows whether the printed page is still right.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import structlog

from barnabee.backup import (
    consistent_copy,
    drill,
    integrity,
    restic,
    restore,
    restore_sources,
    snapshots,
)
from barnabee.backup.snapshots import SnapshotState, StepProgress, ignore_progress
from barnabee.core.errors import BackupFailed, BadInput, DatabaseFull, NotFound, Overloaded
from barnabee.core.files import lock_file
from barnabee.core.schema import System
from barnabee.core.settings import Settings
from barnabee.store.sqlite import MIN_FREE_BYTES, free_bytes, translate_error

TEST_FOLDER = ".rehearsal"
_PASSWORD_LINE = re.compile(r"^\s*password:\s*(\S+)\s*$", re.MULTILINE)
LOCK_FILE, SCRATCH_FOLDER = ".snapshot.lock", ".snapshot"

log = structlog.get_logger()


@dataclass(frozen=True)
class RecoveryKitResult:
    """The snapshot that a recovery kit opened."""

    name: str
    rows: int


def repository_address(system: System, settings: Settings) -> str:
    """Return the address that restic knows the safest repository by."""
    offsite = system.backup.offsite
    return f"rclone:{offsite}" if offsite else str(settings.data_dir / restic.FOLDER)


def read_remotes(system: System) -> str:
    """Return rclone's configuration without comments; empty when the repository needs none."""
    config = restic.find_rclone_config() if system.backup.offsite else None
    lines = [line.strip() for line in config.read_text().splitlines()] if config else []
    return "\n".join(line for line in lines if line and line[0] not in "#;")


def make_digest(system: System, settings: Settings, password: str) -> str:
    parts = (repository_address(system, settings), password, read_remotes(system))
    return hashlib.sha256("\n".join(filter(None, parts)).encode()).hexdigest()


def print_kit(system: System, settings: Settings) -> str:
    """Return the page, and record that it was printed; makes the password when there is none.

    Raises SettingMissing when the off-site remote is not defined.
    """
    password = restic.make_password(settings)
    restic.open_offsite(system, settings)  # raises
    digest = make_digest(system, settings, password)
    state = replace(snapshots.read_state(settings), kit=digest, printed_kit=digest)
    snapshots.write_state(settings, state)
    return format_kit(repository_address(system, settings), password, read_remotes(system))


def is_printed(state: SnapshotState) -> bool:
    """Return whether the kit was printed since what is on it last changed."""
    return state.printed_kit is not None and state.printed_kit == state.kit


def format_kit(address: str, password: str, remotes: str = "") -> str:
    """Return the page; `remotes` is rclone's configuration."""
    rclone = " rclone" if address.startswith("rclone:") else ""
    needs = config = export = ""
    if not rclone:
        needs = (
            "Mount the disk of this machine, or a copy of that folder, at the same path. If it is\n"
            "read-only, add `--no-lock` to the commands of restic.\n"
        )
    if remotes:
        lines = "".join(f"    {line}\n" for line in remotes.splitlines())
        config = f"Write these lines into a new file rclone.conf:\n\n{lines}\n"
        export = "    export RCLONE_CONFIG=rclone.conf\n"
    return f"""BarnabeeNet recovery kit

With this page anyone can read the snapshots. Print it and store it secretly, away from the machine.

    repository: {address}
    password:   {password}

To test it now and every few months:   barnabee restore --rehearse-recovery-kit
To restore from the newest snapshot:   barnabee restore --from snapshot --key FILE --force
                                       (with `--key -` you enter the password)

Without BarnabeeNet: as root, on any machine with restic (0.14 or newer), in an empty folder.
{needs}{config}On Debian or Ubuntu:

    apt-get install restic{rclone} sqlite3 ca-certificates
{export}    export RESTIC_PASSWORD={password}
    restic -r {address} snapshots
    restic -r {address} restore latest --target recovered
    sqlite3 -bail barnabee.db < recovered/{snapshots.DUMP}

Then barnabee.db is the database as it was at the time of the newest snapshot.
"""


def parse_password(text: str) -> str:
    """Return the password in `text`, which may be the whole printed kit; BadInput without one.

    No error quotes `text`: it may be part of a secret.
    """
    if found := _PASSWORD_LINE.search(text):
        return found[1]
    words = text.split()
    if len(words) != 1:
        raise BadInput(what="There is no line `password: …` in the recovery kit")
    return words[0]


def verify_kit(
    system: System, settings: Settings, password: str, on_progress: StepProgress
) -> RecoveryKitResult:
    """Restore the newest snapshot to scratch with the kit's password alone, not the machine's.

    Blocks. Raises BackupFailed naming the step, SettingInvalid when the password is wrong.
    """
    source = restore_sources.find_snapshot_source(
        system, settings, password=password, prefer_offsite=True
    )
    if not isinstance(source, restore_sources.SnapshotSource):
        raise NotFound(what="snapshot that is encrypted: there is only a plain copy")
    folder = settings.data_dir / TEST_FOLDER
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    try:
        result = asyncio.run(restore.restore_to_file(folder / "opened.db", source, on_progress))
    except BackupFailed as error:
        step, reason = error.fields["step"], error.fields["reason"]
        raise BackupFailed(what="recovery kit test", step=step, reason=reason) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return RecoveryKitResult(source.name, result.rows)


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
            kit=make_digest(system, settings, repository.password),
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
