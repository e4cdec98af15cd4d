"""Snapshots of the database: an encrypted archive each, with a description beside it.

    <data>/snapshots/20250131T031000Z.db.zst.age    without a recovery key: .db.zst, mode 0640
    <data>/snapshots/20250131T031000Z.json         sizes, hashes, transaction, rows per table

The description is written last: an archive without one is an unfinished snapshot. The database
was checked before it was packed, so an archive with the right hash holds an intact database.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from barnabee.backup import archive, consistent_copy, integrity
from barnabee.backup.archive import ArchiveInfo
from barnabee.backup.consistent_copy import ReadTxid, unknown_txid
from barnabee.backup.integrity import DatabaseContent
from barnabee.core.errors import BackupFailed, DatabaseFull
from barnabee.core.files import write_atomically
from barnabee.core.settings import Settings
from barnabee.store.sqlite_errors import MIN_FREE_BYTES, free_bytes, translate_error

if TYPE_CHECKING:
    from pyrage.x25519 import Identity, Recipient

FOLDER = "snapshots"
PLAIN, SEALED, DESCRIPTION = ".db.zst", ".db.zst.age", ".json"
_NAME_FORMAT = "%Y%m%dT%H%M%SZ"
_SCRATCH = ".making.db"

# (step, bytes done, bytes in all or 0)
StepProgress = Callable[[str, int, int], None]

log = structlog.get_logger()


@dataclass(frozen=True)
class Snapshot:
    """One snapshot; its JSON form is the description file."""

    name: str  # 20250131T031000Z
    txid: int  # 0: litestream did not answer
    encrypted: bool
    packed: ArchiveInfo
    content: DatabaseContent

    @property
    def at(self) -> datetime:
        """Return the time at which it was made."""
        return datetime.strptime(self.name, _NAME_FORMAT).replace(tzinfo=UTC)

    @property
    def file(self) -> str:
        """Return the name of the archive file."""
        return self.name + (SEALED if self.encrypted else PLAIN)

    @property
    def description(self) -> str:
        """Return the name of the description file."""
        return self.name + DESCRIPTION

    def dumps(self) -> str:
        return json.dumps(
            {
                "name": self.name,
                "txid": self.txid,
                "encrypted": self.encrypted,
                "packed": self.packed.__dict__,
                "content": self.content.as_dict(),
            },
            indent=2,
        )

    @classmethod
    def loads(cls, text: str) -> Snapshot:
        """Return the snapshot that `text` describes; ValueError when it is no description."""
        try:
            found: dict[str, Any] = json.loads(text)
            packed, content = (
                ArchiveInfo(**found["packed"]),
                DatabaseContent.from_dict(found["content"]),
            )
            snapshot = cls(found["name"], int(found["txid"]), found["encrypted"], packed, content)
            _ = snapshot.at  # raises for a malformed name
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"it is not the description of a snapshot: {error!r}") from error
        return snapshot


def require_room(database: Path, folder: Path) -> None:
    """Raise DatabaseFull when there is no room for a copy and its archive."""
    if free_bytes(folder) < 2 * consistent_copy.size_bytes(database) + MIN_FREE_BYTES:
        raise DatabaseFull(path=database)


def _free_name(folder: Path, at: datetime) -> str:
    """Return an unused name: a clock that is set back must not replace a snapshot."""
    while any((folder / file).exists() for file in snapshot_files(snapshot_name(at))):
        at += timedelta(seconds=1)
    return snapshot_name(at)


def _require_same(checked: str, packed: str) -> None:
    if checked != packed:
        raise ValueError("the packed file differs from the checked one: the disk is faulty")


def ignore_progress(_step: str, _done: int, _all: int) -> None:
    """Report nothing."""


def make_snapshot(
    database: Path,
    folder: Path,
    recipients: Sequence[Recipient],
    read_txid: ReadTxid = unknown_txid,
    *,
    on_progress: StepProgress = ignore_progress,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Snapshot:
    """Make and return a snapshot of the database as it is now; blocks.

    Raises DatabaseFull when there is no room, BackupFailed naming the step; leaves no other files.
    """
    folder.mkdir(mode=0o770, exist_ok=True)
    require_room(database, folder)
    name = _free_name(folder, now())
    scratch = folder / _SCRATCH
    sealed = folder / (name + (SEALED if recipients else PLAIN))
    step = "copy"
    try:
        with consistent_copy.open_read_transaction(database, read_txid) as read:
            report = partial(on_progress, "copy")
            consistent_copy.copy_database(read.connection, scratch, on_progress=report)
        step = "check"
        on_progress(step, 0, 0)
        before = archive.hash_file(scratch)
        integrity.check_integrity(scratch)
        content = integrity.read_file_content(scratch)
        step = "pack"
        report = partial(on_progress, "pack")
        packed = archive.pack_database(scratch, sealed, recipients, on_progress=report)
        _require_same(before, packed.database_sha256)
        made = Snapshot(name, read.txid, bool(recipients), packed, content)
        _write_description(folder, made)
    except sqlite3.Error as error:
        sealed.unlink(missing_ok=True)
        raise translate_error(error, database) from error
    except (OSError, ValueError) as error:
        sealed.unlink(missing_ok=True)
        raise BackupFailed(what="snapshot", step=step, reason=str(error)) from error
    finally:
        scratch.unlink(missing_ok=True)
    log.info("snapshot", name=made.name, txid=made.txid, bytes=packed.file_bytes, rows=content.rows)
    return made


def snapshots_folder(settings: Settings) -> Path:
    """Return the folder of this machine's snapshots."""
    return settings.data_dir / FOLDER


def snapshot_name(at: datetime) -> str:
    """Return the name of a snapshot made at `at`; text order is time order."""
    return f"{at.astimezone(UTC):{_NAME_FORMAT}}"


def list_snapshots(folder: Path) -> list[Snapshot]:
    """Return the complete snapshots in `folder`, oldest first."""
    complete = []
    for path in sorted(folder.glob(f"*{DESCRIPTION}")):
        try:
            snapshot = Snapshot.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            log.warning(
                "snapshot_unreadable", code="backup_damaged", file=path.name, reason=str(error)
            )
            continue
        if snapshot.description == path.name and (folder / snapshot.file).exists():
            complete.append(snapshot)
    return complete


def extract_snapshot(
    folder: Path,
    snapshot: Snapshot,
    target: Path,
    identities: Sequence[Identity],
    *,
    on_progress: StepProgress = ignore_progress,
) -> None:
    """Write the database in a snapshot to `target`; ValueError when it is damaged or locked."""
    if snapshot.encrypted and not identities:
        raise ValueError("it is encrypted, and there is no key on this machine that opens it")
    try:
        with (folder / snapshot.file).open("rb") as source:
            archive.unpack_database(
                *(source, target, identities if snapshot.encrypted else None, snapshot.packed),
                on_progress=partial(on_progress, "unpack"),
            )
    except FileNotFoundError as error:
        raise ValueError(f"{snapshot.file} is missing") from error


def snapshot_files(name: str) -> tuple[str, ...]:
    """Return the files that a snapshot may have, its description first."""
    return tuple(name + end for end in (DESCRIPTION, SEALED, PLAIN))


def _write_description(folder: Path, snapshot: Snapshot) -> None:
    text = snapshot.dumps() + "\n"
    write_atomically(folder / snapshot.description, text, mode=0o640, durable=True)


# --- Retention ----------------------------------------------------------------------------------


def expired_snapshots(
    names: Iterable[str], now: datetime, days: int, verified: str | None
) -> list[str]:
    """Return the names older than `days`, without the newest and the last verified one. Pure.

    `verified` is the newest snapshot that a drill restored successfully, None if unknown.
    """
    ordered = sorted(names)
    kept = {verified, *ordered[-1:]}
    oldest = snapshot_name(now - timedelta(days=days))
    return [name for name in ordered if name < oldest and name not in kept]


def delete_snapshots(folder: Path, names: Iterable[str]) -> None:
    """Delete snapshots, description first, so that no description is left without its archive."""
    for name in names:
        for file in snapshot_files(name):
            (folder / file).unlink(missing_ok=True)
        log.info("snapshot_expired", name=name)


def delete_unfinished(folder: Path) -> None:
    """Delete the files of snapshots that were never finished."""
    described = {snapshot.file for snapshot in list_snapshots(folder)}
    for path in folder.glob("*"):
        unfinished = path.name.endswith((PLAIN, SEALED)) and path.name not in described
        if unfinished or path.name.startswith(_SCRATCH) or path.name.endswith((".part", ".new")):
            with suppress(OSError):
                path.unlink()
