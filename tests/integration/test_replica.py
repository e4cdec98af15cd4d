"""Replication and cold start with the real litestream and a real S3 server."""

from __future__ import annotations

import signal
from collections.abc import Callable

import httpx

from barnabee.backup import litestream
from barnabee.backup.cold_start import ColdStartOutcome
from barnabee.core.health import Degraded, HealthCheck, HealthMonitor, HealthState
from barnabee.core.metrics import Metrics
from support.backup import is_behind
from support.replica import (
    ReplicatedDeployment,
    list_expected_trace_ids,
    read_trace_ids,
    record_turns,
    restore_at_cold_start,
)
from support.wait import eventually


async def test_the_replica_is_restored_after_the_disk_is_lost(
    deployment: ReplicatedDeployment,
) -> None:
    await record_turns(deployment, range(50))
    deployment.start_litestream()
    await deployment.wait_until_replicated()
    deployment.stop_litestream(signal.SIGKILL)
    deployment.delete_data()

    assert await restore_at_cold_start(deployment) is ColdStartOutcome.RESTORED

    assert await read_trace_ids(deployment) == list_expected_trace_ids(range(50))
    assert not list(deployment.path.parent.glob("*restoring*"))
    # api, worker and litestream are users of one group
    assert deployment.path.stat().st_mode & 0o777 == 0o660


async def test_a_restored_database_is_replicated_and_restored_again(
    deployment: ReplicatedDeployment,
) -> None:
    for generation in range(3):
        await record_turns(deployment, range(generation * 20, generation * 20 + 20))
        deployment.start_litestream()
        await deployment.wait_until_replicated()
        deployment.stop_litestream()
        deployment.delete_data()

        assert await restore_at_cold_start(deployment) is ColdStartOutcome.RESTORED
        assert await read_trace_ids(deployment) == list_expected_trace_ids(
            range(generation * 20 + 20)
        )


async def test_rows_written_during_an_s3_outage_are_replicated_afterwards(
    deployment: ReplicatedDeployment,
) -> None:
    await record_turns(deployment, range(10))
    deployment.start_litestream()
    await deployment.wait_until_replicated()
    deployment.s3.kill()
    await record_turns(deployment, range(10, 30))
    assert await is_behind(deployment)

    deployment.s3.start()
    await deployment.wait_until_replicated()
    deployment.stop_litestream(signal.SIGKILL)
    deployment.delete_data()
    assert await restore_at_cold_start(deployment) is ColdStartOutcome.RESTORED
    assert await read_trace_ids(deployment) == list_expected_trace_ids(range(30))


async def test_an_existing_database_is_kept_without_asking_the_store(
    deployment: ReplicatedDeployment,
) -> None:
    await record_turns(deployment, range(3))
    deployment.s3.kill()

    assert await restore_at_cold_start(deployment) is ColdStartOutcome.PRESENT
    assert await read_trace_ids(deployment) == list_expected_trace_ids(range(3))


async def test_an_empty_replica_is_an_empty_start(deployment: ReplicatedDeployment) -> None:
    assert await restore_at_cold_start(deployment) is ColdStartOutcome.EMPTY
    assert not deployment.path.exists()


async def test_an_empty_file_is_not_a_database(deployment: ReplicatedDeployment) -> None:
    await record_turns(deployment, range(5))
    deployment.start_litestream()
    await deployment.wait_until_replicated()
    deployment.stop_litestream()
    deployment.delete_data()
    deployment.path.touch()

    assert await restore_at_cold_start(deployment) is ColdStartOutcome.RESTORED
    assert await read_trace_ids(deployment) == list_expected_trace_ids(range(5))


async def test_a_stale_log_is_moved_aside_before_a_restore(
    deployment: ReplicatedDeployment,
) -> None:
    await record_turns(deployment, range(5))
    deployment.start_litestream()
    await deployment.wait_until_replicated()
    deployment.stop_litestream()
    leftover = b"the log of another database" * 100
    deployment.path.unlink()
    (deployment.path.parent / "barnabee.db-wal").write_bytes(leftover)

    assert await restore_at_cold_start(deployment) is ColdStartOutcome.RESTORED

    assert await read_trace_ids(deployment) == list_expected_trace_ids(range(5))
    kept = list(deployment.path.parent.glob("*.before-restore-*/barnabee.db-wal"))
    assert [log.read_bytes() for log in kept] == [leftover]


async def test_health_reports_the_state_of_the_replica(deployment: ReplicatedDeployment) -> None:
    await record_turns(deployment, range(3))

    async def probe() -> Degraded | None:
        return await litestream.check_replica(deployment.socket, deployment.path, allowed_txids=0)

    health = HealthMonitor("api", [HealthCheck("replica", probe, hard=False)], Metrics("api"))

    async def state() -> HealthState:
        return (await health.report(max_age_s=0)).state

    def has_state(wanted: HealthState) -> Callable[[], object]:
        async def check() -> bool:
            return await state() == wanted

        return check

    assert await state() == HealthState.DEGRADED  # litestream does not run yet
    assert health.last_report.results["replica"].code == "dependency_down"
    deployment.start_litestream()
    await eventually(has_state(HealthState.HEALTHY))  # type: ignore[arg-type]
    deployment.s3.kill()
    await record_turns(deployment, range(3, 5))
    await eventually(has_state(HealthState.DEGRADED))  # type: ignore[arg-type]
    deployment.s3.start()
    await eventually(has_state(HealthState.HEALTHY))  # type: ignore[arg-type]


async def test_litestream_accepts_the_configuration(deployment: ReplicatedDeployment) -> None:
    await record_turns(deployment, range(3))
    deployment.start_litestream()
    await deployment.wait_until_replicated()

    log = deployment.log.read_text()
    assert f'"bucket":"{deployment.system.replica.bucket}"' in log
    assert f'"endpoint":"{deployment.s3.url}"' in log
    assert (
        f'"level":9,"interval":{deployment.system.replica.snapshot_interval_h * 3600 * 10**9}'
        in log
    )
    validation_ns = deployment.system.replica.validation_interval_h * 3600 * 10**9
    assert f'"starting validation monitor","system":"store","interval":{validation_ns}' in log
    async with httpx.AsyncClient() as client:
        url = f"http://127.0.0.1:{deployment.system.port('litestream')}/metrics"
        assert "litestream_txid" in (await client.get(url)).text
    assert (deployment.socket.stat().st_mode & 0o777) == litestream.SOCKET_MODE
    deployment.stop_litestream()  # within its time limit
