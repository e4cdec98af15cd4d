"""Helpers for tests of snapshots, drills and restores."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from barnabee.backup import consistent_copy, integrity, litestream, snapshot_job, snapshots
from barnabee.backup.integrity import DatabaseContent
from barnabee.backup.snapshots import Snapshot
from barnabee.core.schema import System
from barnabee.core.settings import Settings
from support.replica import ReplicatedDeployment


def with_backup_settings(system: System, **changes: object) -> System:
    """Return `system` with `changes` in its section [backup]."""
    return system.model_copy(update={"backup": system.backup.model_copy(update=changes)})


def read_live_content(database: Path) -> DatabaseContent:
    """Return the content of a live database."""
    with consistent_copy.open_read_transaction(database) as read:
        return integrity.read_content(read.connection)


def take_snapshot(deployment: ReplicatedDeployment) -> Snapshot:
    """Make a snapshot like the timer does."""
    return snapshot_job.run_snapshot_job(
        deployment.system, deployment.settings, litestream.make_txid_reader(deployment.settings)
    )


@dataclass
class TickingClock:
    """Clock that advances by one second at each call."""

    now: datetime = datetime(2026, 1, 31, 3, 10, tzinfo=UTC)

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now


def get_snapshot_folder(settings: Settings) -> Path:
    return settings.data_dir / snapshots.FOLDER


def flip_bits(path: Path, at: float = 0.5, count: int = 1) -> None:
    """Flip one bit in each of `count` bytes at the relative position `at`."""
    data = bytearray(path.read_bytes())
    start = int(len(data) * at)
    for index in range(start, min(start + count, len(data))):
        data[index] ^= 0x40
    path.write_bytes(data)


def truncate_file(path: Path, share: float = 0.7) -> None:
    """Keep the first `share` of a file."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
