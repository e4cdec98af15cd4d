"""Deployment whose database the real litestream replicates to a real S3 server."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from barnabee.backup import cold_start, litestream
from barnabee.backup.cold_start import ColdStartOutcome
from barnabee.core import settings as settings_module
from barnabee.core import system as system_module
from barnabee.core.errors import DependencyDown
from barnabee.core.schema import System
from barnabee.core.settings import Settings
from barnabee.store.conversations import Conversations
from barnabee.store.db import Database, open_database
from support.s3 import S3Server
from support.turn_records import make_turn
from support.wait import LAST_RESORT_S, eventually, find_free_port


@dataclass
class ReplicatedDeployment:
    """A data directory, its replica in an S3 server, and the litestream process between them."""

    system: System
    settings: Settings
    s3: S3Server
    socket: Path
    log: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def path(self) -> Path:
        return self.settings.database_path

    def start_litestream(self) -> None:
        config = self.log.with_suffix(".yml")
        config.write_text(
            litestream.litestream_config(self.system, self.settings, self.path, self.socket)
        )
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *("nice", "-n", str(litestream.NICE), str(litestream.find_program())),
                    *("replicate", "-config", str(config), "-no-expand-env"),
                ],
                env=litestream.environment_with_credentials(),
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def stop_litestream(self, number: signal.Signals = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(timeout=LAST_RESORT_S)
            self.process = None

    async def wait_until_replicated(self) -> litestream.ReplicationLag:
        async def measure() -> litestream.ReplicationLag:
            try:
                lag = await litestream.measure_lag(self.socket, self.path)
            except DependencyDown as error:
                raise AssertionError(str(error)) from error
            assert lag.local_txid > 0
            assert lag.transactions == 0
            return lag

        return await eventually(measure)

    def delete_data(self) -> None:
        """Empty the data directory, like the loss of its disk."""
        subprocess.run(["rm", "-rf", str(self.path.parent)], check=True)
        self.path.parent.mkdir()


@contextlib.contextmanager
def make_replicated_deployment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ReplicatedDeployment]:
    """Yield a deployment with an empty data directory, a running S3 server and no litestream."""
    s3 = S3Server(tmp_path / "s3", system_module.load_system().replica.bucket)
    s3.start()
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "b2_key_id").write_text(s3.key_id)
    (credentials / "b2_application_key").write_text(s3.application_key)
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    monkeypatch.setenv("BARNABEE_REPLICA_ENDPOINT", s3.url)
    monkeypatch.setenv("DATABASE_PATH", str(tmp_path / "data" / "barnabee.db"))
    monkeypatch.setenv("BARNABEE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("AWS_CA_BUNDLE", "/etc/ssl/certs/ca-certificates.crt")  # must not matter
    text = (
        system_module.find_system_file()
        .read_text()
        .replace("port = 9092", f"port = {find_free_port()}")
    )
    system = system_module.parse_system(text)
    assert isinstance(system, System)
    with tempfile.TemporaryDirectory() as short:  # a socket's path has at most 107 bytes
        socket_path = Path(short) / "l.sock"
        monkeypatch.setenv("BARNABEE_LITESTREAM_SOCKET", str(socket_path))
        settings = settings_module.read_settings(system)
        deployment = ReplicatedDeployment(
            system, settings, s3, socket_path, tmp_path / "litestream.log"
        )
        yield deployment
        deployment.stop_litestream(signal.SIGKILL)
    s3.kill()


@contextlib.asynccontextmanager
async def use_database(path: Path) -> AsyncIterator[Database]:
    database = await open_database(path)
    try:
        yield database
    finally:
        await database.close()


async def record_turns(deployment: ReplicatedDeployment, numbers: range) -> None:
    async with use_database(deployment.path) as database:
        for number in numbers:
            await Conversations(database).record(make_turn(number))


async def read_trace_ids(deployment: ReplicatedDeployment) -> list[str]:
    async with use_database(deployment.path) as database:
        turns = await Conversations(database).list_turns(limit=10_000)
    return sorted(turn.trace_id for turn in turns)


def list_expected_trace_ids(numbers: range) -> list[str]:
    return [make_turn(number).trace_id for number in numbers]


async def restore_at_cold_start(
    deployment: ReplicatedDeployment, budget_s: float = 30
) -> ColdStartOutcome:
    return await cold_start.restore_if_missing(
        deployment.system, deployment.settings, budget_s=budget_s
    )
