"""An unreachable or damaged replica: no service starts on an empty database."""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import socket
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from barnabee.backup import litestream, restore, restore_sources
from barnabee.backup.cold_start import ColdStartOutcome
from barnabee.backup.snapshots import ignore_progress
from barnabee.core.errors import (
    BackupDamaged,
    BackupUnreachable,
    BadRequest,
    DependencyDown,
    NotFound,
    SettingMissing,
)
from barnabee.store.conversations import Conversations
from support.replica import (
    ReplicatedDeployment,
    list_expected_trace_ids,
    read_trace_ids,
    record_turns,
    restore_at_cold_start,
    use_database,
)
from support.turn_records import make_turn
from support.wait import eventually


@contextlib.contextmanager
def silent_server(port: int) -> Iterator[None]:
    """Accept connections and send nothing, like a firewall or a hung server."""
    with socket.create_server(("127.0.0.1", port)):
        yield


async def test_an_unreachable_s3_server_is_not_an_empty_replica(
    deployment: ReplicatedDeployment,
) -> None:
    deployment.s3.kill()

    with pytest.raises(
        BackupUnreachable, match="nothing was started, so that no backup is overwritten"
    ):
        await restore_at_cold_start(deployment, budget_s=8)
    assert not deployment.path.exists()


async def test_a_hanging_s3_server_is_not_an_empty_replica(
    deployment: ReplicatedDeployment,
) -> None:
    deployment.s3.kill()

    with silent_server(deployment.s3.port), pytest.raises(BackupUnreachable, match="no answer"):
        await restore_at_cold_start(deployment, budget_s=8)


@pytest.mark.parametrize(("name", "reason"), [("b2_application_key", "403"), ("bucket", "404")])
async def test_a_wrong_key_or_bucket_is_not_an_empty_replica(
    deployment: ReplicatedDeployment, tmp_path: Path, name: str, reason: str
) -> None:
    if name == "bucket":
        (deployment.s3.directory / deployment.s3.bucket).rmdir()
    else:
        (tmp_path / "credentials" / name).write_text("wrong")

    with pytest.raises(BackupUnreachable, match=reason):
        await restore_at_cold_start(deployment, budget_s=7)


async def test_a_missing_key_is_not_an_empty_replica(
    deployment: ReplicatedDeployment, tmp_path: Path
) -> None:
    (tmp_path / "credentials" / "b2_key_id").unlink()

    with pytest.raises(SettingMissing, match="b2_key_id"):
        await restore_at_cold_start(deployment)


async def test_a_cold_start_waits_for_the_s3_server(deployment: ReplicatedDeployment) -> None:
    await record_turns(deployment, range(5))
    deployment.start_litestream()
    await deployment.wait_until_replicated()
    deployment.stop_litestream()
    deployment.delete_data()
    deployment.s3.kill()
    restoring = asyncio.create_task(restore_at_cold_start(deployment, budget_s=60))
    await asyncio.sleep(0)

    deployment.s3.start()

    assert await restoring is ColdStartOutcome.RESTORED
    assert await read_trace_ids(deployment) == list_expected_trace_ids(range(5))


async def test_a_forced_restore_moves_a_damaged_database_aside(
    deployment: ReplicatedDeployment,
) -> None:
    await record_turns(deployment, range(10))
    deployment.start_litestream()
    await deployment.wait_until_replicated()
    deployment.stop_litestream()
    garbage = b"not a database" * 1000
    deployment.path.write_bytes(garbage)

    with pytest.raises(BadRequest, match="--force"):
        await restore_from_replica(deployment, force=False)
    assert deployment.path.read_bytes() == garbage

    previous = await restore_from_replica(deployment, force=True)
    assert previous is not None
    assert (previous / "barnabee.db").read_bytes() == garbage
    assert await read_trace_ids(deployment) == list_expected_trace_ids(range(10))


async def test_a_replica_that_lacks_transactions_says_what_can_be_restored(
    deployment: ReplicatedDeployment,
) -> None:
    deployment.start_litestream()
    for number in range(6):
        await record_turns(deployment, [number])
        await deployment.wait_until_replicated()
    deployment.stop_litestream()
    files = sorted(deployment.s3.directory.rglob("*.ltx"))
    lost = max(int(file.stem.split("-")[1], 16) for file in files) - 1
    for file in files:  # of every level
        first, last = (int(txid, 16) for txid in file.stem.split("-"))
        if first <= lost <= last:
            file.unlink()
    deployment.s3.kill()  # it caches its listings
    deployment.s3.start()

    with pytest.raises(
        NotFound, match=rf"complete replica in .*\b{lost} (is|are) missing"
    ) as raised:
        await restore_sources.find_replica_source(deployment.system, deployment.settings)
    found = re.search(r"restore up to transaction (\d+) with `--txid \1`", str(raised.value))
    assert found
    end = int(found[1])
    source = await restore_sources.find_replica_source(
        deployment.system, deployment.settings, txid=end
    )
    assert source.plan[-1].last == end < lost


async def test_a_forced_restore_of_an_empty_replica_changes_nothing(
    deployment: ReplicatedDeployment,
) -> None:
    await record_turns(deployment, range(3))

    with pytest.raises(NotFound, match="backup"):
        await restore_from_replica(deployment, force=True)
    assert await read_trace_ids(deployment) == list_expected_trace_ids(range(3))


async def test_a_damaged_replica_without_snapshots_is_refused(
    deployment: ReplicatedDeployment,
) -> None:
    await record_turns(deployment, range(300))
    deployment.start_litestream()
    await deployment.wait_until_replicated()
    deployment.stop_litestream()
    for file in deployment.s3.directory.rglob("*.ltx"):
        content = bytearray(file.read_bytes())
        content[len(content) // 2 : len(content) // 2 + 40] = b"\xff" * 40
        file.write_bytes(content)
    deployment.delete_data()

    with pytest.raises((BackupDamaged, BackupUnreachable)):
        await restore_at_cold_start(deployment, budget_s=7)
    assert not deployment.path.exists()


async def test_nothing_is_lost_while_litestream_is_down_past_a_checkpoint(
    deployment: ReplicatedDeployment,
) -> None:
    copied, numbers = range(250), range(450)
    async with use_database(deployment.path) as database:
        turns = Conversations(database)
        await turns.record(make_turn(copied[0]))
        deployment.start_litestream()
        await deployment.wait_until_replicated()
        await eventually(lambda: _has_snapshot(deployment))
        for number in copied[1:]:
            await turns.record(make_turn(number))
        await deployment.wait_until_replicated()
        deployment.stop_litestream(signal.SIGKILL)
        # SQLite's own limit is 1000 pages: the log would restart, shorter than what was copied.
        for number in numbers[len(copied) :]:
            await turns.record(make_turn(number))
        log_bytes = _log_path(deployment).stat().st_size
        deployment.start_litestream()
        await deployment.wait_until_replicated()
    deployment.stop_litestream()
    deployment.delete_data()

    assert await restore_at_cold_start(deployment) is ColdStartOutcome.RESTORED
    assert await read_trace_ids(deployment) == list_expected_trace_ids(numbers)
    assert log_bytes > 1200 * 4096


async def test_measuring_the_lag_does_not_permit_checkpoints_by_others(
    deployment: ReplicatedDeployment,
) -> None:
    await record_turns(deployment, range(1))
    deployment.start_litestream()
    await deployment.wait_until_replicated()
    header = _log_header(deployment)
    with contextlib.closing(sqlite3.connect(deployment.path, isolation_level=None)) as other:
        assert other.execute("PRAGMA wal_autocheckpoint").fetchone()[0] > 0
        other.execute("CREATE TABLE IF NOT EXISTS strange (text)")
        for _ in range(5):
            found = other.execute("PRAGMA wal_checkpoint").fetchone()
            other.execute("INSERT INTO strange VALUES ('a checkpoint would restart the log')")
    assert found[2] < found[1]
    assert _log_header(deployment) == header


async def test_no_sync_is_requested_while_litestream_hangs(
    deployment: ReplicatedDeployment,
) -> None:
    await record_turns(deployment, range(1))
    deployment.s3.kill()
    with silent_server(deployment.s3.port):
        deployment.start_litestream()

        async def reports_hang() -> bool:
            with pytest.raises(DependencyDown, match="hangs in its phase"):
                await litestream.measure_lag(deployment.socket, deployment.path)
            return True

        assert await eventually(reports_hang)
        # without another request, which would time out with another reason from now on
        assert await eventually(reports_hang)


async def restore_from_replica(deployment: ReplicatedDeployment, *, force: bool) -> Path | None:
    source = await restore_sources.find_replica_source(deployment.system, deployment.settings)
    result = await restore.restore_in_place(
        *(deployment.path, source, restore.NoWriters(), ignore_progress), force=force
    )
    return result.previous_path


async def _has_snapshot(deployment: ReplicatedDeployment) -> bool:
    """Return whether there is a snapshot: a later one would contain what was missed."""
    return bool(list(deployment.s3.directory.rglob("0009/*.ltx")))


def _log_path(deployment: ReplicatedDeployment) -> Path:
    return deployment.path.with_name(f"{deployment.path.name}-wal")


def _log_header(deployment: ReplicatedDeployment) -> bytes:
    with _log_path(deployment).open("rb") as log:
        return log.read(32)
