"""Helpers for tests of snapshots, drills and restores."""

from __future__ import annotations

from pathlib import Path

from barnabee.backup import (
    consistent_copy,
    drill,
    integrity,
    litestream,
    restic,
    snapshot_job,
)
from barnabee.backup.cold_start import ColdStartOutcome
from barnabee.backup.integrity import DatabaseContent
from barnabee.backup.snapshots import SnapshotState
from barnabee.core.errors import DependencyDown
from barnabee.core.schema import System
from barnabee.core.settings import Settings
from support.replica import ReplicatedDeployment, record_turns, restore_at_cold_start
from support.s3_proxy import Mode, S3Proxy


def with_backup_settings(system: System, **changes: object) -> System:
    """Return `system` with `changes` in its section [backup]."""
    return system.model_copy(update={"backup": system.backup.model_copy(update=changes)})


def read_live_content(database: Path) -> DatabaseContent:
    """Return the content of a live database."""
    with consistent_copy.open_read_transaction(database) as read:
        return integrity.read_content(read.connection)


def take_snapshot(deployment: ReplicatedDeployment) -> SnapshotState:
    """Make a snapshot like the timer does."""
    return snapshot_job.run_snapshot_job(deployment.system, deployment.settings)


def find_packs(repository: Path) -> list[Path]:
    """Return the files with the data of a restic repository, the largest last."""
    packs = (path for path in (repository / "data").rglob("*") if path.is_file())
    return sorted(packs, key=lambda path: path.stat().st_size)


def get_repository(settings: Settings) -> Path:
    return settings.data_dir / restic.FOLDER


def flip_bits(path: Path, at: float = 0.5, count: int = 1) -> None:
    """Flip one bit in each of `count` bytes at the relative position `at`."""
    path.chmod(0o600)  # restic's files are read-only
    data = bytearray(path.read_bytes())
    start = int(len(data) * at)
    for index in range(start, min(start + count, len(data))):
        data[index] ^= 0x40
    path.write_bytes(data)


def truncate_file(path: Path, share: float = 0.7) -> None:
    """Keep the first `share` of a file."""
    path.chmod(0o600)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])


async def require_complete_restore(deployment: ReplicatedDeployment) -> None:
    """Wait for replication, delete the data, restore and compare."""
    await deployment.wait_until_replicated()
    final = read_live_content(deployment.path)
    deployment.stop_litestream()
    deployment.delete_data()
    assert await restore_at_cold_start(deployment) is ColdStartOutcome.RESTORED
    assert read_live_content(deployment.path) == final


async def is_behind(deployment: ReplicatedDeployment) -> bool:
    try:
        return (await litestream.measure_lag(deployment.socket, deployment.path)).transactions > 0
    except DependencyDown:
        return True


async def require_outage_without_loss(
    deployment: ReplicatedDeployment, proxy: S3Proxy, mode: Mode
) -> None:
    """Write while the store fails in this way: a drill reports it, and later nothing is missing."""
    await record_turns(deployment, range(20))
    deployment.start_litestream()
    await deployment.wait_until_replicated()
    proxy.mode = mode
    await record_turns(deployment, range(20, 60))

    assert await is_behind(deployment)
    done = await drill.run_drill(deployment.system, deployment.settings)
    assert (done.success, done.step) == (False, "replica: read"), done
    proxy.mode = "pass"
    await require_complete_restore(deployment)
