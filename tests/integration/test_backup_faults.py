"""Faults of the object store, the disk, the key or the operator: reported, and nothing is lost.

Real litestream and S3 server, with a proxy between them that simulates a bad network. Each test
ends with a restore whose content is compared.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from barnabee.backup import drill, restore, restore_sources
from barnabee.backup.snapshots import ignore_progress
from barnabee.core.errors import BackupFailed, DatabaseCorrupt
from barnabee.store.conversations import Conversations
from barnabee.store.provider import DatabaseProvider
from support.backup import (
    is_behind,
    read_live_content,
    require_complete_restore,
    require_outage_without_loss,
    take_snapshot,
)
from support.disk import SmallDisk
from support.replica import (
    ReplicatedDeployment,
    record_turns,
)
from support.s3_proxy import S3Proxy
from support.turn_records import make_turn
from support.wait import eventually, wait_until

ROOT = Path(__file__).resolve().parents[2]


async def test_a_refused_connection_shows_as_lag_and_loses_nothing(
    deployment: ReplicatedDeployment, s3_proxy: S3Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drill, "REPLICATION_LIMIT_S", 2.0)
    await require_outage_without_loss(deployment, s3_proxy, "refuse")


async def test_a_revoked_key_shows_as_lag_and_the_new_key_catches_up(
    deployment: ReplicatedDeployment, tmp_path: Path
) -> None:
    await record_turns(deployment, range(10))
    deployment.start_litestream()
    await deployment.wait_until_replicated()
    deployment.s3.kill()
    deployment.s3.application_key = "another-secret"
    deployment.s3.start()
    await record_turns(deployment, range(10, 30))
    await eventually(lambda: is_behind(deployment))
    assert await is_behind(deployment)

    (tmp_path / "credentials/b2_application_key").write_text("another-secret")
    deployment.stop_litestream()
    deployment.start_litestream()
    await require_complete_restore(deployment)


async def test_a_database_replaced_under_litestream_passes_no_wrong_drill(
    deployment: ReplicatedDeployment, tmp_path: Path
) -> None:
    await record_turns(deployment, range(50))
    deployment.start_litestream()
    await deployment.wait_until_replicated()
    take_snapshot(deployment)
    other = tmp_path / "other.db"
    source = restore_sources.find_snapshot_source(deployment.system, deployment.settings)
    await restore.restore_to_file(other, source, ignore_progress)
    await record_turns(deployment, range(50, 90))
    for end in ("-wal", "-shm"):
        deployment.path.with_name(deployment.path.name + end).unlink(missing_ok=True)
    other.replace(deployment.path)  # while litestream has the old file open
    await record_turns(deployment, range(200, 220))

    done = await drill.run_drill(deployment.system, deployment.settings)
    print(f"\nright after: {done.success} at {done.step}: {done.reason}")
    if not done.success:
        deployment.stop_litestream(signal.SIGKILL)
        deployment.start_litestream()
        await deployment.wait_until_replicated()
        done = await drill.run_drill(deployment.system, deployment.settings)
    assert done.success, done
    await require_complete_restore(deployment)


async def test_a_second_litestream_on_one_database_is_refused(
    deployment: ReplicatedDeployment, tmp_path: Path
) -> None:
    await record_turns(deployment, range(5))

    def start(number: int) -> subprocess.Popen[str]:
        runtime = tmp_path / f"run{number}"
        runtime.mkdir()
        environment = {
            **os.environ,
            "RUNTIME_DIRECTORY": str(runtime),
            "BARNABEE_LITESTREAM_SOCKET": str(deployment.socket),
            "PYTHONPATH": str(ROOT / "src"),
        }
        return subprocess.Popen(
            [sys.executable, "-m", "barnabee", "replicate"],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    first = start(1)
    try:
        await wait_until(deployment.socket.exists)
        second = start(2)
        _, stderr = await asyncio.to_thread(second.communicate, timeout=120)
        assert second.returncode == 2
        assert "is already replicated by another litestream" in stderr
        assert first.poll() is None
    finally:
        first.kill()
        first.wait()
    third = start(3)  # the kernel released the lock of the killed process
    try:
        await deployment.wait_until_replicated()
    finally:
        third.kill()
        third.wait()


async def test_a_process_does_not_write_to_a_database_replaced_by_a_restore(
    deployment: ReplicatedDeployment,
) -> None:
    await record_turns(deployment, range(10))
    deployment.start_litestream()
    await deployment.wait_until_replicated()
    deployment.stop_litestream()
    provider = DatabaseProvider(deployment.path, before_migration=None)
    await Conversations(await provider.database()).record(make_turn(100))  # not in the replica

    source = await restore_sources.find_replica_source(deployment.system, deployment.settings)
    done = await restore.restore_in_place(
        deployment.path, source, restore.NoWriters(), ignore_progress, force=True
    )

    assert done.previous_path is not None
    with pytest.raises(DatabaseCorrupt, match="replaced"):
        await Conversations(await provider.database()).record(make_turn(101))
    with pytest.raises(DatabaseCorrupt):
        await provider.check()
    await Conversations(await provider.database()).record(make_turn(102))
    await provider.close()
    assert read_live_content(deployment.path).tables["turns"].rows == 11
    assert read_live_content(done.previous_path / deployment.path.name).tables["turns"].rows == 11


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a tmpfs needs root")
async def test_a_disk_that_fills_up_during_a_restore_keeps_the_database(
    deployment: ReplicatedDeployment, tmp_path: Path
) -> None:
    await record_turns(deployment, range(2000))
    deployment.start_litestream()
    await deployment.wait_until_replicated()
    deployment.stop_litestream()
    source = await restore_sources.find_replica_source(deployment.system, deployment.settings)
    disk = SmallDisk(tmp_path / "small", size_mib=24)
    disk.mount()
    try:
        target = disk.directory / "barnabee.db"
        shutil.copyfile(deployment.path, target)
        before = target.read_bytes()

        def fill(step: str, _done: int, _total: int) -> None:
            if step == "fetch":
                disk.fill()

        with pytest.raises(BackupFailed, match=r"`fetch`.*(no space|write)") as failure:
            await restore.restore_in_place(target, source, restore.NoWriters(), fill, force=True)
        print(f"\n{failure.value}")
        assert target.read_bytes() == before
        disk.free()
        await restore.restore_in_place(
            target, source, restore.NoWriters(), ignore_progress, force=True
        )
        assert read_live_content(target) == read_live_content(deployment.path)
    finally:
        disk.unmount()
