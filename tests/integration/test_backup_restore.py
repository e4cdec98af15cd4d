"""Restores with the real litestream and S3 server: the requested state, or nothing changes."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from barnabee.backup import (
    cold_start,
    integrity,
    litestream,
    restic,
    restore,
    restore_points,
    restore_sources,
    snapshot_job,
)
from barnabee.backup.restore_sources import RestoreSource
from barnabee.backup.snapshots import ignore_progress
from barnabee.core.errors import (
    BackupDamaged,
    BackupFailed,
    BadRequest,
    NotFound,
    SettingInvalid,
)
from barnabee.store import database_files
from barnabee.store.migrations import load_migrations
from support.backup import (
    find_packs,
    flip_bits,
    get_repository,
    read_live_content,
    take_snapshot,
    with_backup_settings,
)
from support.programs import needs_program
from support.replica import (
    ReplicatedDeployment,
    list_expected_trace_ids,
    make_replicated_deployment,
    read_trace_ids,
    record_turns,
    restore_at_cold_start,
)


@pytest.fixture
def deployment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ReplicatedDeployment]:
    with make_replicated_deployment(tmp_path, monkeypatch) as deployment:
        deployment.system = with_backup_settings(
            deployment.system, offsite=f":local:{tmp_path / 'offsite'}"
        )
        yield deployment


@dataclass
class RecordingWriters:
    """Stops and starts litestream; records the calls."""

    deployment: ReplicatedDeployment
    calls: list[str] = field(default_factory=list)

    async def stop(self) -> None:
        self.calls.append("stop")
        self.deployment.stop_litestream()

    async def start(self) -> None:
        self.calls.append("start")
        self.deployment.start_litestream()


async def restore_from(
    deployment: ReplicatedDeployment, source: RestoreSource, **options: bool
) -> restore.RestoreResult:
    steps: list[str] = []
    writers = RecordingWriters(deployment)

    def on_progress(step: str, _done: int, _total: int) -> None:
        if steps[-1:] != [step]:
            steps.append(step)

    try:
        arguments = {"force": True, **options}
        return await restore.restore_in_place(
            deployment.path, source, writers, on_progress, **arguments
        )
    finally:
        assert writers.calls == ["stop", "start"]
        assert steps[-1] == "start"
        assert not list(deployment.path.parent.glob(".*restoring*"))


async def record_and_replicate(
    deployment: ReplicatedDeployment, numbers: range
) -> litestream.ReplicationLag:
    await record_turns(deployment, numbers)
    return await deployment.wait_until_replicated()


async def test_a_restore_to_a_transaction_and_replication_after_it(
    deployment: ReplicatedDeployment,
) -> None:
    deployment.start_litestream()
    before = await record_and_replicate(deployment, range(20))
    expected = read_live_content(deployment.path)
    await record_and_replicate(deployment, range(20, 60))

    source = await restore_sources.find_replica_source(
        deployment.system, deployment.settings, txid=before.local_txid
    )
    done = await restore_from(deployment, source)

    assert read_live_content(deployment.path) == expected
    assert "turns: -40 rows" in done.notes
    assert done.previous_path is not None
    assert len(list(done.previous_path.iterdir())) >= 2
    after = await record_and_replicate(deployment, range(100, 120))
    assert after.local_txid > before.local_txid
    final = read_live_content(deployment.path)
    deployment.stop_litestream()
    deployment.delete_data()
    assert await restore_at_cold_start(deployment) is cold_start.ColdStartOutcome.RESTORED
    assert read_live_content(deployment.path) == final


async def test_an_unavailable_transaction_is_refused_with_the_nearest_ones(
    deployment: ReplicatedDeployment,
) -> None:
    deployment.start_litestream()
    lag = await record_and_replicate(deployment, range(5))

    with pytest.raises(BadRequest, match=rf"nearest: {lag.local_txid}\b"):
        await restore_sources.find_replica_source(
            deployment.system, deployment.settings, txid=lag.local_txid + 500
        )
    with pytest.raises(BadRequest, match="2026-01-31T18:00:00Z"):
        await restore_sources.find_replica_source(
            deployment.system, deployment.settings, at="yesterday"
        )


@needs_program("restic", "restic")
@pytest.mark.parametrize("step", ["fetch", "check", "open", "swap"])
async def test_a_failure_keeps_the_database_and_names_its_step(
    deployment: ReplicatedDeployment, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await record_turns(deployment, range(30))
    deployment.start_litestream()
    await deployment.wait_until_replicated()
    take_snapshot(deployment)
    source = restore_sources.find_snapshot_source(deployment.system, deployment.settings)
    before = read_live_content(deployment.path)

    def fail(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    if step == "fetch":
        flip_bits(find_packs(get_repository(deployment.settings))[-1])
    elif step == "check":
        monkeypatch.setattr(integrity, "check_integrity", fail)
    elif step == "open":
        monkeypatch.setattr(integrity, "open_with_application", fail)
    else:
        monkeypatch.setattr(Path, "replace", fail)

    with pytest.raises(BackupFailed) as failure:
        await restore_from(deployment, source)

    assert failure.value.fields["step"] == step
    assert failure.value.fields["reason"]
    monkeypatch.undo()
    assert read_live_content(deployment.path) == before
    assert not list(deployment.path.parent.glob("*before-restore*"))


@needs_program("restic", "restic")
async def test_an_offsite_snapshot_is_restored_with_the_kit_alone(
    deployment: ReplicatedDeployment,
) -> None:
    await record_turns(deployment, range(30))
    deployment.start_litestream()
    await deployment.wait_until_replicated()
    take_snapshot(deployment)
    before = read_live_content(deployment.path)
    kit = snapshot_job.print_kit(deployment.system, deployment.settings)
    deployment.stop_litestream()
    deployment.delete_data()

    source = restore_sources.find_snapshot_source(
        *(deployment.system, deployment.settings), password=snapshot_job.parse_password(kit)
    )
    assert isinstance(source, restore_sources.SnapshotSource)
    assert source.is_offsite
    await restore.restore_in_place(
        deployment.path, source, restore.NoWriters(), ignore_progress, force=False
    )
    assert read_live_content(deployment.path) == before


async def test_a_restore_to_a_file_does_not_change_the_database(
    deployment: ReplicatedDeployment, tmp_path: Path
) -> None:
    deployment.start_litestream()
    await record_and_replicate(deployment, range(10))
    source = await restore_sources.find_replica_source(deployment.system, deployment.settings)
    assert len(source.describe()) >= 1

    done = await restore.restore_to_file(tmp_path / "copy.db", source, ignore_progress)

    assert read_live_content(tmp_path / "copy.db") == read_live_content(deployment.path)
    assert done.previous_path is None
    with pytest.raises(BadRequest, match="exists already"):
        await restore.restore_to_file(tmp_path / "copy.db", source, ignore_progress)
    deployment.stop_litestream()


async def test_a_restore_point_is_restored(deployment: ReplicatedDeployment) -> None:
    deployment.start_litestream()
    await record_and_replicate(deployment, range(10))
    read_txid = litestream.make_txid_reader(deployment.settings)
    point = restore_points.create_restore_point(deployment.path, "before the experiment", read_txid)
    before = read_live_content(deployment.path)
    await record_and_replicate(deployment, range(10, 40))

    await restore_from(
        deployment,
        restore_sources.find_restore_point_source(deployment.settings, point),
        migrate=False,
    )

    assert point.txid > 0
    assert read_live_content(deployment.path) == before
    shutil.rmtree(deployment.path.parent / restore_points.FOLDER)
    with pytest.raises(NotFound, match=f"--txid {point.txid}"):
        restore_sources.find_restore_point_source(deployment.settings, point)
    deployment.stop_litestream()


@needs_program("restic", "restic")
async def test_only_the_right_recovery_kit_opens_the_snapshot(
    deployment: ReplicatedDeployment,
) -> None:
    await record_turns(deployment, range(10))
    take_snapshot(deployment)
    kit = snapshot_job.print_kit(deployment.system, deployment.settings)

    def verify(password: str) -> snapshot_job.RecoveryKitResult:
        return snapshot_job.verify_kit(
            deployment.system, deployment.settings, password, ignore_progress
        )

    password = snapshot_job.parse_password(kit)
    (deployment.settings.data_dir / restic.PASSWORD).unlink()  # the kit alone has to open it
    assert (await asyncio.to_thread(verify, password)).rows == 10 + len(load_migrations())
    with pytest.raises(SettingInvalid, match="does not open"):
        await asyncio.to_thread(verify, f"{password[:-1]}x")
    assert not (deployment.settings.data_dir / snapshot_job.TEST_FOLDER).exists()


@needs_program("restic", "restic")
async def test_a_cold_start_uses_a_snapshot_when_the_replica_is_damaged(
    deployment: ReplicatedDeployment, tmp_path: Path
) -> None:
    await record_turns(deployment, range(300))
    deployment.start_litestream()
    await deployment.wait_until_replicated()
    take_snapshot(deployment)
    before = read_live_content(deployment.path)
    deployment.stop_litestream()
    for file in deployment.s3.directory.rglob("*.ltx"):
        flip_bits(file, 0.5, 40)
    password = (deployment.settings.data_dir / restic.PASSWORD).read_text()
    deployment.delete_data()

    with pytest.raises(BackupDamaged, match="does not open the snapshots"):
        await restore_at_cold_start(deployment, budget_s=20)
    assert not database_files.has_database(deployment.path)

    (tmp_path / "credentials" / restic.PASSWORD).write_text(password)
    assert (
        await restore_at_cold_start(deployment, budget_s=20) is cold_start.ColdStartOutcome.SNAPSHOT
    )
    assert read_live_content(deployment.path) == before
    entry = restore.read_last_restore(deployment.path)
    assert entry is not None
    assert "snapshot" in str(entry["source"])
    deployment.start_litestream()  # starts a new replica
    await record_and_replicate(deployment, range(300, 310))
    final = read_live_content(deployment.path)
    deployment.stop_litestream()
    deployment.delete_data()
    assert await restore_at_cold_start(deployment) is cold_start.ColdStartOutcome.RESTORED
    assert read_live_content(deployment.path) == final
    assert len(await read_trace_ids(deployment)) == len(list_expected_trace_ids(range(310)))


@needs_program("restic", "restic")
async def test_an_empty_replica_with_snapshots_is_not_an_empty_start(
    deployment: ReplicatedDeployment, tmp_path: Path
) -> None:
    await record_turns(deployment, range(10))
    take_snapshot(deployment)
    password = (deployment.settings.data_dir / restic.PASSWORD).read_text()
    (tmp_path / "credentials" / restic.PASSWORD).write_text(password)
    before = read_live_content(deployment.path)
    deployment.delete_data()

    assert await restore_at_cold_start(deployment) is cold_start.ColdStartOutcome.SNAPSHOT
    assert read_live_content(deployment.path) == before
