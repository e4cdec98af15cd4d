"""Sources of a restore: the replica, a snapshot (local or off-site), or a restore point."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any, Protocol

import zstandard

from barnabee.backup import replica, restic, restore_points, snapshots
from barnabee.backup.consistent_copy import ByteProgress
from barnabee.backup.replica import LitestreamReplica, LtxFile
from barnabee.backup.restic import Repository, ResticSnapshot
from barnabee.backup.restore_points import RestorePoint
from barnabee.core.errors import BackupUnreachable, BadInput, BadRequest, NotFound
from barnabee.core.files import sync_file
from barnabee.core.schema import System
from barnabee.core.settings import Settings

FETCH_LIMIT_S = 3600.0
SECRET_PREFIX = "AGE-SECRET-KEY-1"  # noqa: S105 - the prefix of every secret key
_ENCRYPTED = ".age"


class RestoreSource(Protocol):
    """A copy that the database can be restored from."""

    @property
    def name(self) -> str:
        """Return a description for messages."""

    def describe(self) -> list[str]:
        """Return a line for each file that a restore uses."""

    async def fetch(self, target: Path, on_progress: ByteProgress) -> None:
        """Write the database to the file `target`; ValueError or BarnabeeError when it fails."""


@dataclass(frozen=True)
class ReplicaSource:
    """The replica: its newest state, or the state at a transaction or time."""

    replica: LitestreamReplica
    plan: Sequence[LtxFile]
    txid: int = 0
    at: str | None = None
    limit_s: float = FETCH_LIMIT_S

    @property
    def name(self) -> str:
        which = f"transaction {self.plan[-1].last}" if self.plan else "newest state"
        if self.at:
            which = f"{which}, the last before {self.at}"
        return f"the replica {self.replica.url}, {which}"

    def describe(self) -> list[str]:
        return [
            f"level {file.level}, transactions {file.first} to {file.last}, "
            f"{file.size_bytes} bytes, {file.at}"
            for file in self.plan
        ]

    async def fetch(self, target: Path, on_progress: ByteProgress) -> None:
        await self.replica.fetch(
            target,
            txid=self.txid,
            at=self.at,
            limit_s=self.limit_s,
            on_progress=lambda done: on_progress(done, 0),
        )


@dataclass(frozen=True)
class SnapshotSource:
    """One snapshot of a repository."""

    repository: Repository
    snapshot: ResticSnapshot

    @property
    def name(self) -> str:
        return f"the snapshot {self.snapshot.id} in {self.repository.address}"

    @property
    def is_offsite(self) -> bool:
        return self.repository.rclone_config is not None

    def describe(self) -> list[str]:
        return [f"{self.snapshot.id}, {self.snapshot.at.isoformat(timespec='seconds')}"]

    async def fetch(self, target: Path, on_progress: ByteProgress) -> None:
        on_progress(0, 0)
        await asyncio.to_thread(snapshots.fetch_database, self.repository, self.snapshot.id, target)


@dataclass(frozen=True)
class FileSource:
    """A complete copy of the database: a restore point, or a snapshot without restic."""

    file: Path
    name: str

    def describe(self) -> list[str]:
        return [f"{self.file}, {self.file.stat().st_size} bytes"]

    async def fetch(self, target: Path, on_progress: ByteProgress) -> None:
        on_progress(0, 0)
        await asyncio.to_thread(shutil.copyfile, self.file, target)


async def find_replica_source(
    system: System, settings: Settings, *, txid: int = 0, at: str | None = None
) -> ReplicaSource:
    """Return the replica as a source; BadRequest for a bad time or txid.

    NotFound when it is empty or lacks transactions.
    """
    remote = LitestreamReplica(system, settings)
    time = replica.normalize_time(at) if at else None
    files = await remote.list_files()
    if not files:
        raise NotFound(what=f"backup in {remote.url}")
    if txid:
        replica.require_restorable(txid, files)
    try:
        plan = await remote.plan_restore(txid=txid, at=time)
    except BackupUnreachable as error:
        gap = replica.describe_gap(files)
        if gap is None:
            raise
        raise NotFound(what=f"complete replica in {remote.url}: {gap}") from error
    return ReplicaSource(remote, plan, txid, time)


def open_repositories(
    system: System, settings: Settings, password: str | None = None
) -> list[Repository]:
    """Return the local repository, and the off-site one if there is any."""
    offsite = restic.open_offsite(system, settings, password)
    return [restic.open_local(settings, password), *([offsite] if offsite else [])]


def find_snapshot_source(
    system: System,
    settings: Settings,
    *,
    at: str | None = None,
    password: str | None = None,
    prefer_offsite: bool = False,
) -> SnapshotSource | FileSource:
    """Return the newest snapshot not later than `at`, a local one if there is any.

    `prefer_offsite` prefers an off-site one; `password` replaces the machine's. Without restic it
    is the plain copy. Blocks. Raises NotFound when there is none, and restic's errors.
    """
    if restic.describe_missing():
        return _find_plain_copy(system, settings, at)
    repositories = open_repositories(system, settings, password)
    for repository in reversed(repositories) if prefer_offsite else repositories:
        found = [one for one in repository.list_snapshots() if _is_before(one.at, at)]
        if found:
            return SnapshotSource(repository, found[-1])
    where = repositories[-1].address
    raise NotFound(what=f"snapshot in {where}: `barnabee backup snapshot` makes one")


def _find_plain_copy(system: System, settings: Settings, at: str | None) -> FileSource:
    made_at, file = snapshots.read_state(settings).made_at, settings.data_dir / snapshots.PLAIN_COPY
    if not file.exists() or (made_at and not _is_before(made_at, at)):
        if system.backup.offsite:
            restic.find_restic()  # raises: there may be off-site snapshots
        raise NotFound(what="snapshot: `barnabee backup snapshot` makes a plain copy")
    return FileSource(file, f"the plain copy {file}")


def find_restore_point_source(settings: Settings, point: RestorePoint) -> FileSource:
    """Return the copy of a restore point; NotFound when it was deleted."""
    copy = restore_points.copy_path(settings.database_path, point)
    if not copy.exists():
        hint = f"; try `barnabee restore --txid {point.txid}`" if point.txid else ""
        raise NotFound(what=f"copy of the restore point {point.id}{hint}")
    return FileSource(copy, f"the restore point {point.id} ({point.reason})")


def _is_before(made_at: datetime, at: str | None) -> bool:
    return at is None or made_at <= datetime.fromisoformat(replica.normalize_time(at))


def require_no_txid(txid: int) -> None:
    """Raise BadRequest when `txid` is given: a snapshot has one transaction only."""
    if txid:
        reason = "it does not apply to snapshots; use --at, or --from litestream"
        raise BadRequest(field="--txid", reason=reason)


@dataclass(frozen=True)
class LegacySource:
    """One archive; `key` is its recovery kit or the file `machine.key` beside it."""

    file: Path
    key: str | None

    @property
    def name(self) -> str:
        return f"the snapshot {self.file}"

    def describe(self) -> list[str]:
        return [f"{self.file.name}, {self.file.stat().st_size} bytes"]

    async def fetch(self, target: Path, on_progress: ByteProgress) -> None:
        on_progress(0, 0)
        await asyncio.to_thread(read_archive, self.file, self.key, target)


def find_legacy_source(file: Path, key: str | None) -> LegacySource:
    """Return `file` as a source; NotFound without it, BadInput when it needs a key."""
    if not file.is_file():
        raise NotFound(what=f"snapshot {file}")
    if file.suffix == _ENCRYPTED:
        _parse_identity(key or "")
    return LegacySource(file, key)


def read_archive(file: Path, key: str | None, target: Path) -> None:
    """Write the database in an archive to `target`; ValueError when it is damaged or locked."""
    compressed = target.with_name(f"{target.name}.tmp")
    try:
        description = file.with_name(file.name.partition(".")[0] + ".json")
        expected = json.loads(description.read_text(encoding="utf-8"))["packed"]["database_sha256"]
        with file.open("rb") as source, compressed.open("w+b") as plain:
            if file.suffix == _ENCRYPTED:
                _decrypt(source, plain, key or "")
            else:
                shutil.copyfileobj(source, plain)
            plain.seek(0)
            with target.open("wb") as database:
                zstandard.ZstdDecompressor().copy_stream(plain, database)
        with target.open("rb") as database:
            if hashlib.file_digest(database, "sha256").hexdigest() != expected:
                raise ValueError("the database in it is not the one that was packed")
        sync_file(target)
    except (OSError, KeyError, TypeError, zstandard.ZstdError) as error:
        raise ValueError(f"it is damaged or cut short: {error}") from error
    finally:
        compressed.unlink(missing_ok=True)


def _decrypt(source: IO[bytes], plain: IO[bytes], key: str) -> None:
    import pyrage  # noqa: PLC0415 - 5 MiB that only this needs

    try:
        pyrage.decrypt_io(source, plain, [_parse_identity(key)])
    except pyrage.DecryptError as error:
        raise ValueError(f"it cannot be opened with this key: {error}") from error


def _parse_identity(text: str) -> Any:
    """Return the key in `text`, which may be the whole kit; BadInput, which does not quote it."""
    from pyrage import IdentityError, x25519  # noqa: PLC0415 - see `_decrypt`

    words = [word for word in text.split() if word.upper().startswith(SECRET_PREFIX)]
    if not words:
        raise BadInput(what=f"The snapshot is encrypted: give a line {SECRET_PREFIX}… with --key")
    try:
        return x25519.Identity.from_str(words[0].upper())
    except IdentityError as error:
        reason = "a letter is wrong or missing"
        raise BadInput(what=f"The key is not valid: {reason}") from error
