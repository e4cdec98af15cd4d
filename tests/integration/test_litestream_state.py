"""Litestream's local state is damaged, or the database's log is replaced while it runs."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import tomli_w

from barnabee.backup import litestream
from barnabee.cli import replicate
from barnabee.core.errors import DependencyDown
from barnabee.store.conversations import Conversations
from barnabee.store.db import Database
from support.replica import ReplicatedDeployment, make_replicated_deployment, use_database
from support.turn_records import make_turn

ROOT = Path(__file__).parents[2]


@pytest.fixture
def deployment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ReplicatedDeployment]:
    with make_replicated_deployment(tmp_path, monkeypatch) as deployment:
        yield deployment


class Supervisor:
    """Starts `barnabee replicate` again whenever it ends, as the runner and systemd do."""

    def __init__(self, deployment: ReplicatedDeployment) -> None:
        self.deployment = deployment
        self.starts = 0
        self.process: asyncio.subprocess.Process | None = None
        system = deployment.log.with_name("system.toml")
        data = deployment.system.model_dump(mode="json", exclude_none=True, by_alias=True)
        system.write_text(tomli_w.dumps(data), encoding="utf-8")
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT / "src"),
            "BARNABEE_SYSTEM": str(system),
            "RUNTIME_DIRECTORY": str(deployment.socket.parent),
        }

    async def run(self) -> None:
        while True:
            self.starts += 1
            with self.deployment.log.open("ab") as log:
                self.process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", "barnabee", "replicate"),
                    env=self.environment,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
            await self.process.wait()

    async def kill(self) -> None:
        """Kill it; the supervisor starts it again."""
        assert self.process is not None
        self.process.kill()
        await self.process.wait()


@asynccontextmanager
async def supervise(deployment: ReplicatedDeployment) -> AsyncIterator[Supervisor]:
    supervisor = Supervisor(deployment)
    task = asyncio.create_task(supervisor.run())
    try:
        yield supervisor
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        with suppress(ProcessLookupError):
            await supervisor.kill()


def find_newest_state_file(deployment: ReplicatedDeployment) -> Path:
    state = deployment.path.with_name(f".{deployment.path.name}-litestream")
    return max(state.glob("ltx/0/*.ltx"))


def find_kept(deployment: ReplicatedDeployment) -> list[Path]:
    return list(deployment.path.parent.glob(".*-litestream.damaged-*"))


async def record(database: Database, number: int) -> None:
    with suppress(DependencyDown):
        await Conversations(database).record(make_turn(number))
        return
    await Conversations(database).record(make_turn(number))


def cut_in_half(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def fill_with_zeros(file: Path) -> None:
    file.write_bytes(bytes(file.stat().st_size))


@pytest.mark.parametrize("inflict", [cut_in_half, fill_with_zeros])
@pytest.mark.parametrize("is_running", [True, False])
async def test_a_damaged_state_is_kept_and_replication_continues(
    deployment: ReplicatedDeployment, inflict: Callable[[Path], None], is_running: bool
) -> None:
    async with use_database(deployment.path) as database, supervise(deployment) as supervisor:
        await record(database, 1)
        await deployment.wait_until_replicated()
        await record(database, 2)
        await deployment.wait_until_replicated()
        inflict(find_newest_state_file(deployment))
        if not is_running:
            await supervisor.kill()
        await record(database, 3)
        while not find_kept(deployment):
            await asyncio.sleep(0.1)
        lag = await deployment.wait_until_replicated()
        assert lag.transactions == 0
        log = deployment.log.read_text(encoding="utf-8")
        assert log.count('"event":"litestream_state_damaged"') == 1
        assert find_kept(deployment)[0].name in log


async def test_litestream_opens_a_log_that_was_put_back(
    deployment: ReplicatedDeployment,
) -> None:
    async with use_database(deployment.path) as database, supervise(deployment) as supervisor:
        await record(database, 1)
        await deployment.wait_until_replicated()
        while True:  # until the watcher has noted which file the log is
            Path(f"{deployment.path}-wal").unlink(missing_ok=True)
            await record(database, 2)
            if supervisor.starts > 1:
                break
            await asyncio.sleep(0.5)
        await record(database, 3)
        assert (await deployment.wait_until_replicated()).transactions == 0


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("verify ltx file /d/0/2-2.ltx: ltx file corrupted: decode header: EOF", True),
        ("cannot verify wal state: last page match: decode ltx page: unexpected EOF", True),
        ("no answer within 1.5 s", False),
        ("upload: operation error S3: PutObject, connection refused", False),
    ],
)
def test_only_local_damage_counts(reason: str, expected: bool) -> None:
    assert replicate.is_state_damaged(reason) == expected


def test_only_the_newest_states_are_kept(tmp_path: Path) -> None:
    database = tmp_path / "barnabee.db"
    for _ in range(replicate.STATES_KEPT_MAX + 2):
        (tmp_path / ".barnabee.db-litestream").mkdir()
        assert replicate.set_state_aside(database)
    assert len(list(tmp_path.iterdir())) == replicate.STATES_KEPT_MAX
    assert replicate.set_state_aside(database) is None


async def test_the_watcher_ends_with_litestream(deployment: ReplicatedDeployment) -> None:
    async with use_database(deployment.path) as database, supervise(deployment) as supervisor:
        await record(database, 1)
        await deployment.wait_until_replicated()
        assert supervisor.process is not None
        main = supervisor.process.pid
        children = Path(f"/proc/{main}/task/{main}/children").read_text().split()
        assert children
        await supervisor.kill()
        while any(Path(f"/proc/{child}/exe").exists() for child in children):
            await asyncio.sleep(0.02)
        assert litestream.NICE
