"""Where a database can be brought back from: the replica, a snapshot here or elsewhere, a pin."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from barnabee.backup import keys, offsite, replica, restore_points, snapshot_job, snapshots
from barnabee.backup.checksums import Content
from barnabee.backup.offsite import Offsite
from barnabee.backup.replica import Part, Remote
from barnabee.backup.snapshots import Snapshot
from barnabee.core.errors import BadRequest, NotFound
from barnabee.core.schema import System
from barnabee.core.settings import Settings

if TYPE_CHECKING:
    from pyrage.x25519 import Identity

# (bytes done, bytes in all or 0)
Progress = Callable[[int, int], None]
FETCH_LIMIT_S = 3600.0


class Source(Protocol):
    """Something that a database can be restored from."""

    @property
    def name(self) -> str:
        """Say what it is, for people."""

    @property
    def expected(self) -> Content | None:
        """Return what must be in it, where that was written down."""

    def describe(self) -> list[str]:
        """Return a line for each file that would be used."""

    async def fetch(self, target: Path, progress: Progress) -> None:
        """Write the database to the file `target`; ValueError or BarnabeeError says why not."""


@dataclass(frozen=True)
class FromReplica:
    """The replica, at its end or at one transaction or moment."""

    remote: Remote
    plan: Sequence[Part]
    txid: int = 0
    at: str | None = None
    expected: Content | None = None
    limit_s: float = FETCH_LIMIT_S

    @property
    def name(self) -> str:
        """Say what it is."""
        which = f"transaction {self.plan[-1].last}" if self.plan else "its end"
        if self.at:
            which = f"{which}, the last before {self.at}"
        return f"the replica {self.remote.url}, {which}"

    def describe(self) -> list[str]:
        """Return its files."""
        return [
            f"level {one.level}, transactions {one.first} to {one.last}, {one.size_bytes} bytes, "
            f"{one.at}"
            for one in self.plan
        ]

    async def fetch(self, target: Path, progress: Progress) -> None:
        """Restore it."""
        await self.remote.fetch(
            target,
            txid=self.txid,
            at=self.at,
            limit_s=self.limit_s,
            progress=lambda done: progress(done, 0),
        )
        self.remote.asked.b += len(self.plan)


@dataclass(frozen=True)
class FromSnapshot:
    """One snapshot, here or (with `elsewhere`) in the second place."""

    folder: Path
    snapshot: Snapshot
    identities: Sequence[Identity]
    elsewhere: Offsite | None = None

    @property
    def name(self) -> str:
        """Say what it is."""
        where = self.elsewhere.place if self.elsewhere else self.folder
        return f"the snapshot {self.snapshot.name} in {where}"

    @property
    def expected(self) -> Content | None:
        """Return what its description says."""
        return self.snapshot.content

    def describe(self) -> list[str]:
        """Return its file."""
        one = self.snapshot
        kind = "encrypted" if one.encrypted else "not encrypted"
        of = f"of transaction {one.txid}" if one.txid else "of a database that was not streamed"
        return [f"{one.file}, {one.packed.file_bytes} bytes, {kind}, {of}"]

    async def fetch(self, target: Path, progress: Progress) -> None:
        """Open it."""

        def work() -> None:
            folder = self.folder
            with tempfile.TemporaryDirectory(dir=target.parent, prefix=".fetching-") as scratch:
                if self.elsewhere is not None:
                    folder = Path(scratch)
                    self.elsewhere.get(self.snapshot, folder)
                snapshots.open_into(
                    *(folder, self.snapshot, target, self.identities),
                    tell=lambda _, done, in_all: progress(done, in_all),
                )

        await asyncio.to_thread(work)


@dataclass(frozen=True)
class FromPin:
    """The copy that was made when a pin was."""

    database: Path
    pin: restore_points.Pin
    expected: Content | None = None

    @property
    def name(self) -> str:
        """Say what it is."""
        return f"the pin {self.pin.id} ({self.pin.reason})"

    def describe(self) -> list[str]:
        """Return its file."""
        return [f"{restore_points.copy_of(self.database, self.pin)}, schema {self.pin.schema}"]

    async def fetch(self, target: Path, progress: Progress) -> None:
        """Copy it."""

        def work() -> None:
            shutil.copyfile(restore_points.copy_of(self.database, self.pin), target)
            progress(target.stat().st_size, target.stat().st_size)

        await asyncio.to_thread(work)


async def from_replica(
    system: System, settings: Settings, *, txid: int = 0, at: str | None = None
) -> FromReplica:
    """Return the replica as a source; NotFound when it is empty, BadRequest for no such moment."""
    place = Remote(system, settings)
    moment = replica.require_moment(at) if at else None
    parts = await place.parts()
    if not parts:
        raise NotFound(what=f"backup in {place.url}")
    if txid:
        replica.require_restorable(txid, parts)
    plan = await place.plan(txid=txid, at=moment)
    return FromReplica(place, plan, txid, moment)


def from_snapshot(
    system: System,
    settings: Settings,
    *,
    at: str | None = None,
    identity: Identity | None = None,
    prefer_elsewhere: bool = False,
) -> FromSnapshot:
    """Return the newest snapshot (not later than `at`), here or else in the second place.

    Blocks. Raises NotFound when there is none.
    """
    folder = snapshot_job.folder_of(settings)
    identities = [identity] if identity else keys.machine_identities(folder)
    latest = _stamp(at)
    here = [one for one in snapshots.every(folder) if one.name <= latest]
    elsewhere = offsite.of(system)
    if here and not (elsewhere and prefer_elsewhere):
        return FromSnapshot(folder, here[-1], identities)
    names = [name for name in (elsewhere.names() if elsewhere else []) if name <= latest]
    if elsewhere is None or not names:
        where = elsewhere.place if elsewhere else folder
        raise NotFound(what=f"snapshot in {where}: `barnabee backup snapshot` makes one")
    try:
        one = elsewhere.described(names[-1])
    except ValueError as error:
        raise NotFound(what=f"usable description of {names[-1]} ({error})") from error
    return FromSnapshot(folder, one, identities, elsewhere)


def from_pin(settings: Settings, one: restore_points.Pin) -> FromPin:
    """Return the copy of a pin; NotFound when it has been forgotten."""
    copy = restore_points.copy_of(settings.database_path, one)
    if not copy.exists():
        near = f"; try `barnabee restore --txid {one.txid}`" if one.txid else ""
        raise NotFound(what=f"copy of the pin {one.id} any more{near}")
    return FromPin(settings.database_path, one)


def _stamp(at: str | None) -> str:
    """Return the greatest name that a snapshot not later than `at` may have."""
    if at is None:
        return "9"
    found = datetime.fromisoformat(replica.require_moment(at))
    return snapshots.name_of(found)


def no_txid(txid: int) -> None:
    """Raise BadRequest when a transaction is wanted of something that has one only."""
    if txid:
        reason = "snapshots are one moment each; give --at, or --from litestream"
        raise BadRequest(field="--txid", reason=reason)
