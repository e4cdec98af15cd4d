"""Restore drill with the real litestream and S3 server: what it verifies and what it refuses."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from barnabee.backup import consistent_copy, drill, integrity, litestream, restic
from barnabee.backup.drill import DrillResult
from barnabee.backup.replica import LitestreamReplica
from barnabee.core.errors import BackupFailed
from support.backup import (
    find_packs,
    flip_bits,
    take_snapshot,
    truncate_file,
    with_backup_settings,
)
from support.programs import needs_program
from support.replica import ReplicatedDeployment, make_replicated_deployment, record_turns
from support.wait import eventually

pytestmark = needs_program("restic", "restic")
MIN_CHECKPOINT_BYTES = 1000 * 4096  # litestream's min-checkpoint-page-count


@pytest.fixture
def deployment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ReplicatedDeployment]:
    with make_replicated_deployment(tmp_path, monkeypatch) as deployment:
        deployment.system = with_backup_settings(
            deployment.system, offsite=f":local:{tmp_path / 'offsite'}"
        )
        yield deployment


async def prepare(deployment: ReplicatedDeployment, count: int = 200) -> None:
    await record_turns(deployment, range(count))
    deployment.start_litestream()
    await deployment.wait_until_replicated()
    take_snapshot(deployment)


async def run_drill(deployment: ReplicatedDeployment) -> DrillResult:
    return await drill.run_drill(deployment.system, deployment.settings)


def read_last_drill(deployment: ReplicatedDeployment) -> DrillResult | None:
    connection = consistent_copy.connect_live(deployment.path, "ro")
    try:
        return drill.newest_drill(connection)
    finally:
        connection.close()


def list_ltx_files(deployment: ReplicatedDeployment, level: str = "*") -> list[Path]:
    return sorted(deployment.s3.directory.rglob(f"{level}/*.ltx"))


async def test_a_successful_drill_is_recorded(
    deployment: ReplicatedDeployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    await prepare(deployment)
    # The pages are equal: comparing the rows takes three times as long.
    monkeypatch.delattr(integrity, "describe_differences")

    done = await run_drill(deployment)

    assert (done.success, done.step, done.code) == (True, None, None), done
    assert done.rows >= 200
    assert done.txid > 0
    assert done.bytes > 100_000
    assert done.offsite
    assert read_last_drill(deployment) == done
    assert not (deployment.settings.data_dir / drill.SCRATCH_FOLDER).exists()
    drill.require_success(done)


async def test_the_drill_succeeds_while_turns_are_written(deployment: ReplicatedDeployment) -> None:
    await prepare(deployment, 20)
    for number in range(3):
        await record_turns(deployment, range(100 + number * 50, 150 + number * 50))
        done = await run_drill(deployment)
        assert done.success, done
        assert done.rows >= 70 + number * 50


async def test_the_drill_succeeds_while_a_reader_keeps_a_large_log(
    deployment: ReplicatedDeployment,
) -> None:
    """Litestream then tries to checkpoint at every sync, and waits for the write lock each time."""
    await prepare(deployment, 20)
    with closing(consistent_copy.connect_live(deployment.path, "ro")) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM turns").fetchone()
        await record_turns(deployment, range(100, 1600))
        assert Path(f"{deployment.path}-wal").stat().st_size > MIN_CHECKPOINT_BYTES
        await deployment.wait_until_replicated()
        done = await run_drill(deployment)
    assert done.success, done


def damage_replica(deployment: ReplicatedDeployment) -> None:
    for file in list_ltx_files(deployment):
        flip_bits(file, 0.6)


def delete_replica_files(deployment: ReplicatedDeployment) -> None:
    for file in [
        *list_ltx_files(deployment, "0009"),
        *list_ltx_files(deployment, "0001"),
        list_ltx_files(deployment, "0000")[1],
    ]:
        file.unlink()
    deployment.s3.kill()  # it caches its listings
    deployment.s3.start()


async def test_a_drill_after_the_loss_of_the_local_repository(
    deployment: ReplicatedDeployment,
) -> None:
    await prepare(deployment)
    shutil.rmtree(deployment.settings.data_dir / restic.FOLDER)
    done = await run_drill(deployment)
    assert (done.success, done.offsite) == (True, True), done
    shutil.rmtree(find_offsite(deployment))
    done = await run_drill(deployment)
    assert (done.success, done.step, done.code) == (False, "snapshot: find", "not_found"), done


def find_offsite(deployment: ReplicatedDeployment) -> Path:
    return Path(deployment.system.backup.offsite.removeprefix(":local:"))


def find_pack(deployment: ReplicatedDeployment) -> Path:
    return find_packs(find_offsite(deployment))[-1]


def damage_local_repository(deployment: ReplicatedDeployment) -> None:
    for file in find_packs(deployment.settings.data_dir / restic.FOLDER):
        truncate_file(file)


def replace_password(deployment: ReplicatedDeployment) -> None:
    (deployment.settings.data_dir / restic.PASSWORD).write_text("of another machine")


def delete_snapshots(deployment: ReplicatedDeployment) -> None:
    for file in (find_offsite(deployment) / "snapshots").iterdir():
        file.unlink()
    for file in (deployment.settings.data_dir / restic.FOLDER / "snapshots").iterdir():
        file.unlink()


DAMAGE: dict[str, tuple[Callable[[ReplicatedDeployment], None], str]] = {
    "flipped bits in the replica": (damage_replica, "replica: fetch"),
    "missing files in the replica": (delete_replica_files, "replica: fetch"),
    "flipped bit in the snapshot": (
        lambda deployment: flip_bits(find_pack(deployment)),
        "snapshot: fetch",
    ),
    "snapshot cut short": (
        lambda deployment: truncate_file(find_pack(deployment)),
        "snapshot: fetch",
    ),
    "damaged local repository": (damage_local_repository, "snapshot: check"),
    "wrong password": (replace_password, "snapshot: find"),
    "no snapshot": (delete_snapshots, "snapshot: find"),
    "no litestream": (lambda deployment: deployment.stop_litestream(), "replica: read"),
}


@pytest.mark.parametrize(("damage", "step"), DAMAGE.values(), ids=DAMAGE.keys())
async def test_each_fault_fails_the_drill_at_its_step(
    deployment: ReplicatedDeployment, damage: Callable[[ReplicatedDeployment], None], step: str
) -> None:
    await prepare(deployment)
    for number in range(3):
        await record_turns(deployment, range(500 + number, 501 + number))
        await deployment.wait_until_replicated()
    await wait_until_compacted(deployment)
    damage(deployment)

    await require_failure(deployment, step)


async def wait_until_compacted(deployment: ReplicatedDeployment) -> None:
    """Wait for snapshot and first compaction: written later, they would undo a damage.

    Litestream tries both at its start; too early for what has not been uploaded by then.
    """
    deployment.stop_litestream()
    deployment.start_litestream()
    await deployment.wait_until_replicated()

    async def is_compacted() -> bool:
        return bool(list_ltx_files(deployment, "0009") and list_ltx_files(deployment, "0001"))

    await eventually(is_compacted)


async def require_failure(deployment: ReplicatedDeployment, step: str) -> None:
    done = await run_drill(deployment)
    print(f"\n{done.step}: {done.reason} [{done.code}]")
    assert not done.success
    assert done.step == step, done
    assert done.reason
    assert read_last_drill(deployment) == done
    with pytest.raises(BackupFailed, match=re.escape(step)):
        drill.require_success(done)
    assert not (deployment.settings.data_dir / drill.SCRATCH_FOLDER).exists()


async def test_a_silently_lost_row_fails_the_drill(
    deployment: ReplicatedDeployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await prepare(deployment)
    monkeypatch.setenv("BARNABEE_LITESTREAM", str(forgetful_litestream(tmp_path)))

    await require_failure(deployment, "replica: compare")


async def test_a_missing_object_fails_the_drill_after_the_stall_limit(
    deployment: ReplicatedDeployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    await prepare(deployment)
    await wait_until_compacted(deployment)
    for file in list_ltx_files(deployment):
        file.unlink()  # the server still lists them
    monkeypatch.setattr(drill, "LitestreamReplica", partial(LitestreamReplica, stall_s=2.0))

    await require_failure(deployment, "replica: fetch")


def forgetful_litestream(directory: Path) -> Path:
    """Return a litestream program whose restores lack the last turn."""
    program = directory / "forgetful"
    text = (Path(__file__).parents[1] / "support/fake_litestream.py").read_text()
    program.write_text(
        f"#!{sys.executable}\n{text}".replace("LITESTREAM", str(litestream.find_program()))
    )
    program.chmod(0o755)
    return program


async def test_a_collapse_fails_the_drill_until_it_is_accepted(
    deployment: ReplicatedDeployment,
) -> None:
    await prepare(deployment)
    assert (await run_drill(deployment)).success
    connection = consistent_copy.connect_live(deployment.path, "rw")
    connection.execute("DELETE FROM turns")
    connection.close()
    take_snapshot(deployment)

    for _ in range(2):
        await require_failure(deployment, "database: compare")
    done = await run_drill(deployment)
    assert "table turns fell from 200 to 0 rows" in (done.reason or "")
    accepted = await drill.run_drill(deployment.system, deployment.settings, accept_collapse=True)
    assert accepted.success, accepted
    assert (await run_drill(deployment)).success
