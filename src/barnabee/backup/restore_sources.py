"""Sources of a restore: the replica, a snapshot (local or off-site), or a restore point."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from barnabee.backup import keys, offsite, replica, restore_points, snapshots
from barnabee.backup.consistent_copy import ByteProgress
from barnabee.backup.integrity import DatabaseContent
from barnabee.backup.offsite import OffsiteStore
from barnabee.backup.replica import LitestreamReplica, LtxFile
from barnabee.backup.restore_points import RestorePoint
from barnabee.backup.snapshots import Snapshot
from barnabee.core.errors import BackupUnreachable, BadRequest, NotFound
from barnabee.core.schema import System
from barnabee.core.settings import Settings

if TYPE_CHECKING:
    from pyrage.x25519 import Identity

FETCH_LIMIT_S = 3600.0


class RestoreSource(Protocol):
    """A copy that the database can be restored from."""

    @property
    def name(self) -> str:
        """Return a description for messages."""

    @property
    def expected(self) -> DatabaseContent | None:
        """Return the recorded content, None where none was recorded."""

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
    expected: DatabaseContent | None = None
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
    """One snapshot in `folder`, or with `offsite_store` in that."""

    folder: Path
    snapshot: Snapshot
    identities: Sequence[Identity]
    offsite_store: OffsiteStore | None = None

    @property
    def name(self) -> str:
        where = self.offsite_store.location if self.offsite_store else self.folder
        return f"the snapshot {self.snapshot.name} in {where}"

    @property
    def expected(self) -> DatabaseContent | None:
        return self.snapshot.content

    def describe(self) -> list[str]:
        made = self.snapshot
        kind = "encrypted" if made.encrypted else "not encrypted"
        txid = f"transaction {made.txid}" if made.txid else "transaction unknown"
        return [f"{made.file}, {made.packed.file_bytes} bytes, {kind}, {txid}"]

    async def fetch(self, target: Path, on_progress: ByteProgress) -> None:
        def work() -> None:
            folder = self.folder
            with tempfile.TemporaryDirectory(dir=target.parent, prefix=".fetching-") as scratch:
                if self.offsite_store is not None:
                    folder = Path(scratch)
                    self.offsite_store.download(self.snapshot, folder)
                snapshots.extract_snapshot(
                    *(folder, self.snapshot, target, self.identities),
                    on_progress=lambda _, done, total: on_progress(done, total),
                )

        await asyncio.to_thread(work)


@dataclass(frozen=True)
class RestorePointSource:
    """The copy of a restore point."""

    database: Path
    restore_point: RestorePoint
    expected: DatabaseContent | None = None

    @property
    def name(self) -> str:
        return f"the restore point {self.restore_point.id} ({self.restore_point.reason})"

    def describe(self) -> list[str]:
        copy = restore_points.copy_path(self.database, self.restore_point)
        return [f"{copy}, schema {self.restore_point.schema}"]

    async def fetch(self, target: Path, on_progress: ByteProgress) -> None:
        def work() -> None:
            shutil.copyfile(restore_points.copy_path(self.database, self.restore_point), target)
            on_progress(target.stat().st_size, target.stat().st_size)

        await asyncio.to_thread(work)


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


def find_snapshot_source(
    system: System,
    settings: Settings,
    *,
    at: str | None = None,
    identity: Identity | None = None,
    prefer_offsite: bool = False,
) -> SnapshotSource:
    """Return the newest snapshot not later than `at`, a local one if there is any.

    `prefer_offsite` prefers an off-site one. Blocks. Raises NotFound when there is none.
    """
    folder = snapshots.snapshots_folder(settings)
    identities = [identity] if identity else keys.machine_identities(folder)
    latest = _latest_name(at)
    local = [found for found in snapshots.list_snapshots(folder) if found.name <= latest]
    store = offsite.open_offsite(system)
    if local and not (store and prefer_offsite):
        return SnapshotSource(folder, local[-1], identities)
    names = [name for name in (store.list_names() if store else []) if name <= latest]
    if store is None or not names:
        where = store.location if store else folder
        raise NotFound(what=f"snapshot in {where}: `barnabee backup snapshot` makes one")
    try:
        snapshot = store.read_description(names[-1])
    except ValueError as error:
        raise NotFound(what=f"usable description of {names[-1]} ({error})") from error
    return SnapshotSource(folder, snapshot, identities, store)


def find_restore_point_source(settings: Settings, point: RestorePoint) -> RestorePointSource:
    """Return the copy of a restore point; NotFound when it was deleted."""
    if not restore_points.copy_path(settings.database_path, point).exists():
        hint = f"; try `barnabee restore --txid {point.txid}`" if point.txid else ""
        raise NotFound(what=f"copy of the restore point {point.id}{hint}")
    return RestorePointSource(settings.database_path, point)


def _latest_name(at: str | None) -> str:
    """Return the greatest name that a snapshot made at or before `at` can have."""
    if at is None:
        return "9"
    return snapshots.snapshot_name(datetime.fromisoformat(replica.normalize_time(at)))


def require_no_txid(txid: int) -> None:
    """Raise BadRequest when `txid` is given: a snapshot has one transaction only."""
    if txid:
        reason = "it does not apply to snapshots; use --at, or --from litestream"
        raise BadRequest(field="--txid", reason=reason)
