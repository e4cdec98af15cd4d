"""Every fault of the object store in what reads the replica, and in the lease.

What is reported, and that nothing is lost, with the real litestream and S3 server. With
`BARNABEE_WRITE_FAULTS=1`, together with test_store_faults_running.py, what was seen is written into
docs/reference/backup.md.
"""

from __future__ import annotations

import itertools
import os
import shutil
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from barnabee.backup import cold_start, restore
from barnabee.backup.cold_start import ColdStartOutcome
from barnabee.backup.replica import LitestreamReplica
from barnabee.backup.restore_sources import ReplicaSource
from barnabee.backup.snapshots import ignore_progress
from barnabee.clients.s3 import S3Bucket
from barnabee.core.errors import BackupDamaged, DependencyDown
from barnabee.standby import bootstrap
from barnabee.standby.lease import NS, GetObject, LeaseProtocol, LeaseTiming
from barnabee.store import fence
from support.backup import truncate_file
from support.replica import ReplicatedDeployment
from support.store_faults import (
    FAULTS,
    MATRIX,
    ROWS,
    Cell,
    Fault,
    attempt,
    count_rows,
    faulty_store,
    lose,
    make_certificates,
    move_to,
    replicate_rows,
    require_no_damage,
    run_concurrently,
)
from support.wait import LAST_RESORT_S


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, ssl.SSLContext]:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module", autouse=True)
def matrix() -> Iterator[None]:
    yield
    if os.environ.get("BARNABEE_WRITE_FAULTS"):
        MATRIX.write()


@pytest.fixture
async def deployment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[ReplicatedDeployment]:
    async with replicate_rows(tmp_path, monkeypatch) as deployment:
        yield deployment


async def test_a_cold_start(
    deployment: ReplicatedDeployment,
    certificates: Mapping[str, ssl.SSLContext],
    tmp_path: Path,
) -> None:
    async def check(fault: Fault) -> None:
        with faulty_store(fault, deployment.s3.port, certificates) as store:
            folder = tmp_path / f"cold-{FAULTS.index(fault)}"
            faulty = move_to(deployment.settings, folder, store.faulty_url)
            healthy = move_to(deployment.settings, folder, store.proxy.url)
            store.begin()
            start = partial(cold_start.restore_if_missing, deployment.system)
            cell = await attempt(lambda: start(faulty, budget_s=9))
            store.end()
            outcome = await start(healthy, budget_s=LAST_RESORT_S)
            assert outcome in {ColdStartOutcome.RESTORED, ColdStartOutcome.PRESENT}, fault
            require_no_damage(cell, fault)
            assert cold_start.read_substitute(folder) is None
            lost = ROWS - count_rows(healthy.database_path)
            MATRIX.record(fault, "cold start", lose(cell, lost))
            assert not lost, fault

    await run_concurrently([partial(check, fault) for fault in FAULTS])
    assert not list(deployment.s3.directory.rglob("*damaged*"))


async def test_a_file_cut_short_in_the_store_is_damage(
    deployment: ReplicatedDeployment, tmp_path: Path
) -> None:
    """Litestream reads it as a transfer that broke off, the second client as a complete file."""
    remote = LitestreamReplica(deployment.system, deployment.settings, stall_s=4)
    target = tmp_path / "restored.db"
    await remote.fetch_intact(target, limit_s=LAST_RESORT_S)
    assert count_rows(target) == ROWS
    for file in deployment.s3.directory.rglob("0009/*.ltx"):
        truncate_file(file)
    with pytest.raises(BackupDamaged):
        await remote.fetch_intact(target, limit_s=LAST_RESORT_S)


async def test_a_restore_in_place(
    deployment: ReplicatedDeployment,
    certificates: Mapping[str, ssl.SSLContext],
    tmp_path: Path,
) -> None:
    async def check(fault: Fault) -> None:
        with faulty_store(fault, deployment.s3.port, certificates) as store:
            folder = tmp_path / f"place-{FAULTS.index(fault)}"
            healthy = move_to(deployment.settings, folder, store.proxy.url)
            shutil.copyfile(deployment.path, healthy.database_path)

            async def run(url: str) -> None:
                settings = move_to(deployment.settings, folder, url)
                remote = LitestreamReplica(deployment.system, settings, stall_s=4)
                source = ReplicaSource(remote, await remote.list_files(), limit_s=60)
                await restore.restore_in_place(
                    *(settings.database_path, source, restore.NoWriters(), ignore_progress),
                    force=True,
                )

            store.begin()
            cell = await attempt(lambda: run(store.faulty_url))
            rows = count_rows(healthy.database_path)
            assert rows == ROWS or fault.mode == "stale_list", fault  # as asked for: what is listed
            store.end()
            await run(store.proxy.url)
            lost = ROWS - count_rows(healthy.database_path)
            MATRIX.record(fault, "restore", lose(cell, lost))
            assert not lost, fault

    await run_concurrently([partial(check, fault) for fault in FAULTS])


async def test_a_failover(
    deployment: ReplicatedDeployment,
    certificates: Mapping[str, ssl.SSLContext],
    tmp_path: Path,
) -> None:
    graph = deployment.system
    quick = graph.service["restore"].model_copy(update={"startup_budget_s": 9})
    impatient = graph.model_copy(update={"service": {**graph.service, "restore": quick}})

    async def check(fault: Fault) -> None:
        with faulty_store(fault, deployment.s3.port, certificates) as store:
            folder = tmp_path / f"failover-{FAULTS.index(fault)}"
            lease = {"lease_dir": str(folder)}
            healthy = move_to(deployment.settings, folder, store.proxy.url)
            faulty = healthy.model_copy(update={"replica_endpoint": store.faulty_url, **lease})
            permit = fence.WritePermit("right", 2, fence.boot_time_ns() + 3600 * NS)
            fence.grant_permit(folder, permit)
            store.begin()
            cell = await attempt(lambda: bootstrap.prepare_database(impatient, faulty))
            store.end()
            await bootstrap.prepare_database(graph, healthy.model_copy(update=lease))
            require_no_damage(cell, fault)
            lost = ROWS - count_rows(healthy.database_path)
            MATRIX.record(fault, "failover", lose(cell, lost))
            assert not lost, fault

    await run_concurrently([partial(check, fault) for fault in FAULTS])


async def test_the_lease(
    deployment: ReplicatedDeployment, certificates: Mapping[str, ssl.SSLContext]
) -> None:
    """Under no fault do two machines hold it; afterwards one does."""
    config = deployment.system.standby
    timing = LeaseTiming.from_config(config)

    async def check(fault: Fault) -> None:
        with faulty_store(fault, deployment.s3.port, certificates) as store:
            now_ns, nonces = [0], itertools.count()
            folder = f"lease-{FAULTS.index(fault)}"
            machines = {
                host: LeaseProtocol(
                    *(host, [other], timing),
                    clock=lambda: now_ns[0],
                    nonce=lambda: str(next(nonces)),
                )
                for host, other in (("left", "right"), ("right", "left"))
            }

            async def run_round(host: str, url: str, limit_s: float = LAST_RESORT_S) -> None:
                region, name = deployment.system.replica.region, deployment.system.replica.bucket
                keys = (deployment.s3.key_id, deployment.s3.application_key)
                bucket = S3Bucket(url, region, name, keys, limit_s=limit_s)
                await perform(machines[host], bucket, folder)
                held = [name for name, one in machines.items() if one.is_held]
                assert len(held) <= 1, (fault, held)

            await run_round("left", store.proxy.url)
            await run_round("right", store.proxy.url)
            assert machines["left"].is_held
            store.begin()
            cell = Cell("works")
            for _ in range(3):  # left may renew or lose it; right may take over or not
                now_ns[0] += timing.wait_ns
                for host in ("right", "left"):
                    seen = await attempt(partial(run_round, host, store.faulty_url, 3))
                    cell = seen if seen.code != "works" else cell
            store.end()
            for _ in range(3):
                now_ns[0] += timing.wait_ns
                for host in ("left", "right"):
                    await run_round(host, store.proxy.url)
            assert any(one.is_held for one in machines.values()), fault
            MATRIX.record(fault, "lease", cell)

    await run_concurrently([partial(check, fault) for fault in FAULTS])


async def perform(protocol: LeaseProtocol, bucket: S3Bucket, folder: str) -> None:
    """Send the requests of one round, as the lease keeper does."""
    effects = protocol.acquire()
    with suppress(StopIteration):
        request = next(effects)
        while True:
            try:
                content = None
                if isinstance(request, GetObject):
                    content = await bucket.get(f"{folder}/{request.host}")
                else:
                    await bucket.put(f"{folder}/{protocol.host}", request.record.encode())
            except DependencyDown as error:
                request = effects.throw(error)
            else:
                request = effects.send(content)
