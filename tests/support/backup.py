"""A replicated house with snapshots, for tests of what is done with both."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from barnabee.backup import checksums, consistent_copy, litestream, snapshot_job, snapshots
from barnabee.backup.checksums import Content
from barnabee.backup.snapshots import Snapshot
from barnabee.core.schema import System
from barnabee.core.settings import Settings
from support.replica import House


def with_backup(system: System, **changes: object) -> System:
    """Return the graph with other settings of [backup]."""
    return system.model_copy(update={"backup": system.backup.model_copy(update=changes)})


def content_of(database: Path) -> Content:
    """Return what a living database holds now."""
    with consistent_copy.held(database) as seen:
        return checksums.read(seen.connection)


def snapshot(house: House) -> Snapshot:
    """Make one, as the timer does."""
    return snapshot_job.run(house.system, house.settings, litestream.txid_asker(house.settings))


@dataclass
class Clock:
    """A clock that goes a second on whenever it is asked."""

    now: datetime = datetime(2026, 1, 31, 3, 10, tzinfo=UTC)

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now


def folder(settings: Settings) -> Path:
    return settings.data_dir / snapshots.FOLDER


def flip(path: Path, at: float = 0.5, count: int = 1) -> None:
    """Change bits in the middle of a file."""
    data = bytearray(path.read_bytes())
    start = int(len(data) * at)
    for place in range(start, min(start + count, len(data))):
        data[place] ^= 0x40
    path.write_bytes(data)


def cut(path: Path, share: float = 0.7) -> None:
    """Cut a file short."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
