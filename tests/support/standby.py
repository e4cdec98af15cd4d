"""Primary and standby with real Redis, Litestream, workers and lease keepers, and an S3 server.

`StandbyMachine.supervise` does what systemd does with the units of nixos/modules/standby.nix: it
starts and stops processes by the published roles, and stops litestream when the keeper ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomli_w

from barnabee.core import system as system_module
from barnabee.core.schema import System
from support.redis import RedisServer, write_passwords
from support.s3 import S3Server
from support.wait import LAST_RESORT_S, eventually, find_free_port

ROOT = Path(__file__).resolve().parents[2]
POLL_S = 0.05
FAST = {
    "lease_s": 8,
    "renew_s": 1,
    "request_limit_ms": 1000,
    "stop_s": 2,
    "clock_drift_permille": 5,
    "follow_s": 1,
    "takeover_s": 60,
}
SERVICES = ("worker",)


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill a process with its children, as systemd and a power cut do."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def stop_process(
    process: subprocess.Popen[bytes] | None, number: signal.Signals = signal.SIGKILL
) -> None:
    """Signal a process if it runs, wait for its end, and kill its children."""
    if process is not None and process.poll() is None:
        process.send_signal(number)
        if number is signal.SIGTERM:
            try:
                process.wait(timeout=LAST_RESORT_S)
            except subprocess.TimeoutExpired:
                process.kill()
        process.wait(timeout=LAST_RESORT_S)
    if process is not None:
        kill_group(process)


@dataclass
class StandbyMachine:
    """One machine; `desired_role` is its role until `promote` or `demote` is run."""

    host: str
    directory: Path
    s3: S3Server
    desired_role: str
    services: tuple[str, ...] = SERVICES
    peers: dict[str, StandbyMachine] = field(default_factory=dict)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    on: bool = False
    served_at: float = 0.0
    redis: RedisServer = field(init=False)
    system: System = field(init=False)
    ports: dict[str, int] = field(default_factory=dict)
    _supervision: asyncio.Task[None] | None = None

    def __post_init__(self) -> None:
        for name in ("data", "state", "credentials"):
            (self.directory / name).mkdir(parents=True)
        self.short = Path(tempfile.mkdtemp(prefix="lease"))  # a socket's path has at most 107 bytes
        self.redis = RedisServer(self.directory / "redis")
        self.redis.directory.mkdir()
        for name, value in (
            ("b2_key_id", self.s3.key_id),
            ("b2_application_key", self.s3.application_key),
            ("api_token", "token"),
        ):
            (self.directory / "credentials" / name).write_text(value)
        write_passwords(self.directory / "credentials")
        graph = tomllib.loads((ROOT / "system.toml").read_text(encoding="utf-8"))
        for name, node in graph["service"].items():
            if "port" in node:
                node["port"] = self.ports[name] = find_free_port()
        graph["service"]["litestream"]["stop_timeout_s"] = 1
        graph["standby"] = FAST
        graph["probe"]["every_s"] = 0
        (self.directory / "system.toml").write_text(tomli_w.dumps(graph), encoding="utf-8")
        system = system_module.parse_system(
            (self.directory / "system.toml").read_text(encoding="utf-8")
        )
        assert isinstance(system, System), system
        self.system = system

    @property
    def data(self) -> Path:
        return self.directory / "data"

    @property
    def database(self) -> Path:
        return self.data / "barnabee.db"

    @property
    def runtime(self) -> Path:
        return self.short / "lease"

    @property
    def socket(self) -> Path:
        return self.short / "litestream" / "litestream.sock"

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "PYTHONPATH": str(ROOT / "src"),
            "BARNABEE_SYSTEM": str(self.directory / "system.toml"),
            "BARNABEE_DATA": str(self.data),
            "BARNABEE_LEASE_DIR": str(self.runtime),
            "BARNABEE_LINE": str(self.data / "line"),
            "BARNABEE_LITESTREAM_SOCKET": str(self.socket),
            "BARNABEE_REPLICA_ENDPOINT": self.s3.url,
            "CREDENTIALS_DIRECTORY": str(self.directory / "credentials"),
            "DATABASE_PATH": str(self.database),
            "REDIS_URL": self.redis.url,
            "RUNTIME_DIRECTORY": str(self.socket.parent),
        }

    def log(self, name: str) -> str:
        file = self.directory / f"{name}.log"
        return file.read_text() if file.exists() else ""

    # ---- systemd ----------------------------------------------------------------------------

    def boot(self) -> None:
        """Start Redis, the lease keeper and the supervision."""
        self.on = True
        self.redis.start()
        self._supervision = asyncio.create_task(self.supervise())

    async def lose_power(self) -> None:
        """Kill all processes at once."""
        self.on = False
        assert self._supervision
        self._supervision.cancel()
        await asyncio.gather(self._supervision, return_exceptions=True)
        for process in self.processes.values():
            kill_group(process)
        self.redis.kill()
        for process in self.processes.values():
            process.wait(timeout=LAST_RESORT_S)
        self.processes.clear()
        shutil.rmtree(self.runtime, ignore_errors=True)
        shutil.rmtree(self.socket.parent, ignore_errors=True)

    async def supervise(self) -> None:
        """Start and stop processes by the published roles, as the units do."""
        while True:
            keeper = self.processes.get("keep")
            if keeper is None or keeper.poll() is not None:
                # BindsTo= stops litestream with the keeper; RuntimeDirectory= is removed.
                await self._stop("litestream")
                shutil.rmtree(self.runtime, ignore_errors=True)
                self.runtime.mkdir(parents=True)
                others = [text for host in self.peers for text in ("--other", host)]
                self._start(
                    *("keep", sys.executable, "-m", "barnabee", "standby", "keep"),
                    *("--host", self.host, "--desired-role", self.desired_role, *others),
                    *("--state", str(self.directory / "state"), "--writer", str(self.socket)),
                )
            roles = {role for role in ("serve", "hold", "follow") if (self.runtime / role).exists()}
            if "follow" in roles:
                for name in (*self.services, "litestream"):
                    await self._stop(name)
                self._start_follower()
            elif "serve" in roles and await self._prepare_database():
                if "hold" in roles:
                    self._start_litestream()
                for name in self.services:
                    self._start_service(name)
                self.served_at = self.served_at or time.monotonic()
            await asyncio.sleep(POLL_S)

    async def _prepare_database(self) -> bool:
        if self._is_running(self.services[0]):
            return True
        await self._stop("follow")
        self._start("restore", sys.executable, "-m", "barnabee", "restore", "--if-missing")
        process = self.processes["restore"]
        while process.poll() is None:
            await asyncio.sleep(POLL_S)
        return process.returncode == 0

    def _start_litestream(self) -> None:
        if not self._is_running("litestream"):
            self.socket.parent.mkdir(exist_ok=True)
            self._start("litestream", sys.executable, "-m", "barnabee", "replicate")

    def _start_service(self, name: str) -> None:
        module = {"worker": "barnabee.workers"}.get(name, f"barnabee.{name}")
        self._start(name, sys.executable, "-m", module)

    def _start_follower(self) -> None:
        redis = [
            text
            for host, peer in self.peers.items()
            for text in ("--redis", f"{host}=127.0.0.1:{peer.redis.port}")
        ]
        state = ("--state", str(self.directory / "state"))
        self._start("follow", sys.executable, "-m", "barnabee", "standby", "follow", *redis, *state)

    def _is_running(self, name: str) -> bool:
        process = self.processes.get(name)
        return process is not None and process.poll() is None

    def _start(self, name: str, *command: str) -> None:
        if self._is_running(name):
            return
        with (self.directory / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                env=self.environment,
                cwd=self.directory,
                start_new_session=True,
            )

    async def _stop(self, name: str) -> None:
        process = self.processes.pop(name, None)
        await asyncio.to_thread(stop_process, process, signal.SIGTERM)
        if name == "litestream":
            shutil.rmtree(self.socket.parent, ignore_errors=True)

    # ---- operators --------------------------------------------------------------------------

    async def cli(self, *arguments: str) -> tuple[int, str]:
        """Run `barnabee …` on this machine; return exit status and output."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "barnabee", *arguments),
            env=self.environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        return process.returncode or 0, output.decode()

    async def standby(self, command: str, *arguments: str) -> str:
        """Run `barnabee standby COMMAND`, which must succeed, and return its output."""
        state = ("--state", str(self.directory / "state"))
        code, output = await self.cli("standby", command, *arguments, *state)
        assert code == 0, f"{output}\n{self.log('keep')[-2000:]}"
        return output

    async def status(self) -> dict[str, Any]:
        """Return `barnabee standby status --json`; AssertionError while it fails."""
        found: dict[str, Any] = json.loads(await self.standby("status", "--json"))
        return found

    async def wait_for_role(self, role: str, *, within_s: float = LAST_RESORT_S) -> None:
        async def published() -> bool:
            return (self.runtime / role).exists()

        try:
            await eventually(published, within_s=within_s)
        except AssertionError as error:
            logs = "\n".join(self.log(name)[-1500:] for name in ("keep", "restore", "follow"))
            raise AssertionError(f"{self.host} did not take the role {role}: {logs}") from error


@contextlib.asynccontextmanager
async def run_pair(
    tmp_path: Path, services: tuple[str, ...] = SERVICES
) -> AsyncIterator[tuple[StandbyMachine, StandbyMachine, S3Server]]:
    """Yield primary and standby, both off, and a running S3 server."""
    s3 = S3Server(tmp_path / "s3", system_module.load_system().replica.bucket)
    s3.start()
    primary = StandbyMachine("barnabee-core", tmp_path / "core", s3, "hold", services)
    standby = StandbyMachine("manofwar", tmp_path / "manofwar", s3, "follow", services)
    primary.peers, standby.peers = {"manofwar": standby}, {"barnabee-core": primary}
    try:
        yield primary, standby, s3
    finally:
        for machine in (primary, standby):
            if machine.on:
                await machine.lose_power()
            shutil.rmtree(machine.short, ignore_errors=True)
        s3.kill()
