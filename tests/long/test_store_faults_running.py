"""Every fault of the object store in what writes to it: replication, drill and snapshots.

Real litestream, rclone, restic and S3 server; see test_store_faults.py.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from barnabee.backup import cold_start, drill, litestream, restic
from barnabee.backup.cold_start import ColdStartOutcome
from barnabee.core import system as system_module
from barnabee.core.errors import BackupDamaged, BarnabeeError, StoreFailed
from barnabee.core.schema import System
from support.replica import ReplicatedDeployment, record_turns
from support.store_faults import (
    FAULTS,
    MATRIX,
    ROOT,
    Cell,
    Fault,
    attempt,
    count_rows,
    faulty_store,
    lose,
    make_certificates,
    move_to,
    replicate_rows,
    run_concurrently,
)
from support.wait import find_free_port

NAMED_WITHIN_S = 60.0  # on a busy machine; the table has what was measured


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


@dataclass
class Replication:
    """`barnabee replicate` of a deployment: litestream and its watcher."""

    deployment: ReplicatedDeployment
    process: subprocess.Popen[bytes] | None = None

    def start(self, endpoint: str) -> None:
        settings, folder = self.deployment.settings, self.deployment.log.parent
        environment = {
            **os.environ,
            "RUNTIME_DIRECTORY": str(folder),
            "BARNABEE_LITESTREAM_SOCKET": settings.litestream_socket,
            "BARNABEE_REPLICA_ENDPOINT": endpoint,
            "BARNABEE_SYSTEM": str(folder / "system.toml"),
            "BARNABEE_DATA": str(settings.data_dir),
            "DATABASE_PATH": str(settings.database_path),
            "PYTHONPATH": str(ROOT / "src"),
        }
        with self.deployment.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "barnabee", "replicate"],
                env=environment,
                stdout=log,
                stderr=log,
            )

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    async def wait_for_cause(self, within_s: float) -> Cell:
        """Return the cause that status and health name, "works" when the replica catches up."""
        begin_s = time.monotonic()
        socket, path = self.deployment.socket, self.deployment.path
        while (took_s := time.monotonic() - begin_s) < within_s:
            try:
                lag = await litestream.measure_lag(socket, path)
            except StoreFailed as error:
                return Cell(error.fault, took_s)
            except BarnabeeError:
                continue
            if lag.failure is not None:
                return Cell(lag.failure.fault, took_s)
            if not lag.transactions:
                return Cell("works", took_s)
        return Cell("not named", took_s)


async def test_replication_and_drill(
    deployment: ReplicatedDeployment,
    certificates: Mapping[str, ssl.SSLContext],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The cause is named within 5 s, a drill fails with it, and later nothing is missing."""
    monkeypatch.setattr(drill, "REPLICATION_LIMIT_S", 2.0)
    monkeypatch.setattr(drill, "FETCH_LIMIT_S", 8.0)
    monkeypatch.setattr(restic, "describe_missing", lambda: "restic is not part of this")
    await run_concurrently(
        [
            partial(
                check_replication, deployment, fault, certificates, tmp_path / f"running-{number}"
            )
            for number, fault in enumerate(FAULTS)
        ]
    )


async def check_replication(
    deployment: ReplicatedDeployment,
    fault: Fault,
    certificates: Mapping[str, ssl.SSLContext],
    folder: Path,
) -> None:
    with (
        faulty_store(fault, deployment.s3.port, certificates) as store,
        tempfile.TemporaryDirectory() as short,
    ):
        text = (
            system_module.find_system_file()
            .read_text()
            .replace("port = 9092", f"port = {find_free_port()}")
            .replace('path = "sqlite/barnabee"', f'path = "running/{FAULTS.index(fault)}"')
        )
        folder.mkdir()
        (folder / "system.toml").write_text(text)
        system = system_module.parse_system(text)
        assert isinstance(system, System)
        moved = move_to(deployment.settings, folder, store.proxy.url)
        socket = Path(short) / "s"
        settings = moved.model_copy(update={"litestream_socket": str(socket)})
        one = ReplicatedDeployment(system, settings, deployment.s3, socket, folder / "log")
        running = Replication(one)
        await record_turns(one, range(10))
        (folder / "plain-copy").mkdir()
        shutil.copyfile(one.path, folder / "plain-copy/barnabee.db")
        try:
            running.start(store.proxy.url)
            await one.wait_until_replicated()
            if store.is_elsewhere:
                running.stop()
                running.start(store.faulty_url)
            store.begin()
            await record_turns(one, range(10, 20))
            cell = await running.wait_for_cause(NAMED_WITHIN_S)
            MATRIX.record(fault, "replication", cell)
            assert cell.code != "not named", fault
            done = await drill.run_drill(system, settings)
            assert done.code != BackupDamaged.code, fault
            code = (done.code or "works").removeprefix("store_")
            MATRIX.record(fault, "drill", Cell(code, done.took_ms / 1000))
            store.end()
            if store.is_elsewhere:
                running.stop()
                running.start(store.proxy.url)
            await one.wait_until_replicated()
        finally:
            running.stop()
        restored = move_to(deployment.settings, folder / "restored", store.proxy.url)
        assert await cold_start.restore_if_missing(system, restored) is ColdStartOutcome.RESTORED
        assert count_rows(restored.database_path) == 20, fault


async def test_a_snapshot_off_site(
    deployment: ReplicatedDeployment,
    certificates: Mapping[str, ssl.SSLContext],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A copy that failed is made with the next one."""
    local = restic.Repository(str(tmp_path / "restic"), "password")
    local.make_if_missing()
    (tmp_path / "content").mkdir()
    (tmp_path / "content/barnabee.sql").write_text("-- rows")
    local.back_up(tmp_path / "content", datetime.now(UTC))

    def copy(url: str, fault: Fault) -> restic.Repository:
        config = tmp_path / f"{FAULTS.index(fault)}.conf"
        config.write_text(
            f"[s3]\ntype = s3\nprovider = Other\nendpoint = {url}\nregion = us\n"
            f"access_key_id = {deployment.s3.key_id}\nforce_path_style = true\n"
            f"secret_access_key = {deployment.s3.application_key}\n"
        )
        bucket = deployment.system.replica.bucket
        address = f"rclone:s3:{bucket}/offsite-{FAULTS.index(fault)}"
        offsite = restic.Repository(address, "password", config)
        offsite.make_if_missing(like=local)
        offsite.copy_missing(local)
        return offsite

    cells: dict[str, Cell] = {}

    async def fail(fault: Fault) -> None:
        with faulty_store(fault, deployment.s3.port, certificates) as store:
            store.begin()
            work = partial(asyncio.to_thread, copy, store.faulty_url, fault)
            cells[fault.name] = await attempt(work)

    async def succeed(fault: Fault) -> None:
        offsite = await asyncio.to_thread(copy, deployment.s3.url, fault)
        copied = await asyncio.to_thread(offsite.list_snapshots)
        MATRIX.record(fault, "snapshot", lose(cells[fault.name], int(len(copied) != 1)))
        assert len(copied) == 1, fault

    with monkeypatch.context() as quick:
        quick.setattr(restic, "REQUEST_LIMIT_S", 15)
        await run_concurrently([partial(fail, fault) for fault in FAULTS])
    await run_concurrently([partial(succeed, fault) for fault in FAULTS])
