"""The daily copy: one consistent moment of the database in one sealed file, with its description.

    <data>/snapshots/20250131T031000Z.db.zst.age    without a recovery key: .db.zst, mode 0640
    <data>/snapshots/20250131T031000Z.json         sizes, hashes, transaction, rows per table

The description is written last: a file without one is a snapshot that was never finished. What a
snapshot holds was checked before it was packed, so a file with the right hash is a sound database.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from barnabee.backup import archive, consistent_copy, integrity
from barnabee.backup.archive import Packed
from barnabee.backup.checksums import Content
from barnabee.backup.consistent_copy import AskTxid, nobody_knows
from barnabee.backup.cpu_limit import Pace
from barnabee.core.errors import BackupFailed, DatabaseFull
from barnabee.store.sqlite_errors import MIN_FREE_BYTES, explain, free_bytes

if TYPE_CHECKING:
    from pyrage.x25519 import Identity, Recipient

FOLDER = "snapshots"
PLAIN, SEALED, DESCRIPTION = ".db.zst", ".db.zst.age", ".json"
_STAMP = "%Y%m%dT%H%M%SZ"
_SCRATCH = ".making.db"

# (step, bytes done, bytes in all)
Tell = Callable[[str, int, int], None]

log = structlog.get_logger()


@dataclass(frozen=True)
class Snapshot:
    """One snapshot, as its description has it."""

    name: str  # 20250131T031000Z
    txid: int  # 0: litestream could not be asked
    encrypted: bool
    packed: Packed
    content: Content

    @property
    def at(self) -> datetime:
        """Return the moment it is of."""
        return datetime.strptime(self.name, _STAMP).replace(tzinfo=UTC)

    @property
    def file(self) -> str:
        """Return the name of its file."""
        return self.name + (SEALED if self.encrypted else PLAIN)

    @property
    def description(self) -> str:
        """Return the name of the file that describes it."""
        return self.name + DESCRIPTION

    def dumps(self) -> str:
        """Return the text of its description."""
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
        """Return what a description says; ValueError when it is none."""
        try:
            found: dict[str, Any] = json.loads(text)
            packed, content = Packed(**found["packed"]), Content.from_dict(found["content"])
            one = cls(found["name"], int(found["txid"]), found["encrypted"], packed, content)
            _ = one.at
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"it is no description of a snapshot: {error!r}") from error
        return one


def require_room(database: Path, folder: Path) -> None:
    """Raise DatabaseFull when there is no room for the copy and for what is made of it."""
    if free_bytes(folder) < 2 * consistent_copy.size_bytes(database) + MIN_FREE_BYTES:
        raise DatabaseFull(path=database)


def _free_name(folder: Path, at: datetime) -> str:
    """Return a name that no snapshot has: a clock that is set back must not replace one."""
    while any((folder / file).exists() for file in files_of(name_of(at))):
        at += timedelta(seconds=1)
    return name_of(at)


def _require_same(checked: str, packed: str) -> None:
    """Make sure that what was checked is what was packed."""
    if checked != packed:
        raise ValueError("the disk gave back something else than it was given")


def quiet(_step: str, _done: int, _all: int) -> None:
    """Tell nobody."""


def make(
    database: Path,
    folder: Path,
    recipients: Sequence[Recipient],
    ask_txid: AskTxid = nobody_knows,
    *,
    pace: Pace | None = None,
    tell: Tell = quiet,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Snapshot:
    """Make a snapshot of this moment and return it; blocks, and takes as long as `pace` says.

    Raises DatabaseFull before anything was written when there is no room, BackupFailed naming the
    step; nothing unfinished stays behind.
    """
    pace = pace or Pace()
    folder.mkdir(mode=0o770, exist_ok=True)
    require_room(database, folder)
    name = _free_name(folder, now())
    scratch = folder / _SCRATCH
    sealed = folder / (name + (SEALED if recipients else PLAIN))
    step = "copy"
    try:
        with consistent_copy.held(database, ask_txid) as seen:
            txid = seen.txid
            consistent_copy.copy(
                seen.connection, scratch, pause=pace.pause, progress=lambda d, a: tell("copy", d, a)
            )
        step = "check"
        tell(step, 0, 0)
        before = archive.sha256_of(scratch, pace.pause)
        integrity.check(scratch, pace)
        content = integrity.read(scratch, pace)
        step = "pack"
        packed = archive.pack(
            *(scratch, sealed, recipients),
            pause=pace.pause,
            progress=lambda done, in_all: tell("pack", done, in_all),
        )
        _require_same(before, packed.database_sha256)
        made = Snapshot(name, txid, bool(recipients), packed, content)
        _describe(folder, made)
    except sqlite3.Error as error:
        sealed.unlink(missing_ok=True)
        raise explain(error, database) from error
    except (OSError, ValueError) as error:
        sealed.unlink(missing_ok=True)
        raise BackupFailed(what="snapshot", step=step, reason=str(error)) from error
    finally:
        scratch.unlink(missing_ok=True)
    log.info("snapshot", name=made.name, txid=txid, bytes=packed.file_bytes, rows=content.rows)
    return made


def name_of(at: datetime) -> str:
    """Return how a snapshot of the moment `at` is called; text order is time order."""
    return f"{at.astimezone(UTC):{_STAMP}}"


def every(folder: Path) -> list[Snapshot]:
    """Return the finished snapshots in `folder`, oldest first."""
    found = []
    for path in sorted(folder.glob(f"*{DESCRIPTION}")):
        try:
            one = Snapshot.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            log.warning(
                "snapshot_unreadable", code="backup_damaged", file=path.name, reason=str(error)
            )
            continue
        if one.description == path.name and (folder / one.file).exists():
            found.append(one)
    return found


def open_into(
    folder: Path,
    one: Snapshot,
    target: Path,
    identities: Sequence[Identity],
    *,
    pace: Pace | None = None,
    tell: Tell = quiet,
) -> None:
    """Write the database in a snapshot to `target`; ValueError says what is wrong with it."""
    pace = pace or Pace()
    if one.encrypted and not identities:
        raise ValueError("it is encrypted, and there is no key on this machine that opens it")
    try:
        with (folder / one.file).open("rb") as source:
            archive.unpack(
                *(source, target, identities if one.encrypted else None, one.packed),
                pause=pace.pause,
                progress=lambda done, in_all: tell("unpack", done, in_all),
            )
    except FileNotFoundError as error:
        raise ValueError(f"{one.file} is missing") from error


def expired(names: Iterable[str], now: datetime, days: int, good: str | None) -> list[str]:
    """Return which may go: older than `days`, but never the newest nor the last proven good. Pure.

    `good` names the newest snapshot that a drill opened and found equal.
    """
    ordered = sorted(names)
    kept = {good, *ordered[-1:]}
    oldest = name_of(now - timedelta(days=days))
    return [one for one in ordered if one < oldest and one not in kept]


def files_of(name: str) -> tuple[str, ...]:
    """Return what files a snapshot may have, its description first."""
    return tuple(name + end for end in (DESCRIPTION, SEALED, PLAIN))


def remove(folder: Path, names: Iterable[str]) -> None:
    """Delete snapshots, description first, so that none is left without its file."""
    for name in names:
        for file in files_of(name):
            (folder / file).unlink(missing_ok=True)
        log.info("snapshot_expired", name=name)


def clear(folder: Path) -> None:
    """Delete what a killed snapshot left: files without a description, half a copy."""
    described = {one.file for one in every(folder)}
    for path in folder.glob("*"):
        unfinished = path.name.endswith((PLAIN, SEALED)) and path.name not in described
        if unfinished or path.name.startswith(_SCRATCH) or path.name.endswith(".part"):
            with suppress(OSError):
                path.unlink()


def _describe(folder: Path, one: Snapshot) -> None:
    path = folder / one.description
    scratch = path.with_suffix(".part")
    scratch.write_text(one.dumps() + "\n", encoding="utf-8")
    consistent_copy.durable(scratch)
    scratch.replace(path)
    consistent_copy.durable(folder)
