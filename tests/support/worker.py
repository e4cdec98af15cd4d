"""Worker process for tests."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from support.redis import PASSWORDS, write_passwords
from support.wait import LAST_RESORT_S, eventually, find_free_port

ROOT = Path(__file__).parents[2]
MODULE = (sys.executable, "-m", "barnabee.workers")
TOKEN = "worker-test-token"


@dataclass
class WorkerProcess:
    """`python -m barnabee.workers` on a free port, with its output in `log`."""

    directory: Path
    redis_url: str
    data: Path
    command: Sequence[str] = MODULE
    probe_every_s: int = 0  # 0: no voice path to probe
    environment: dict[str, str] = field(default_factory=dict)
    token: str = TOKEN
    passwords: Mapping[str, str] = field(default_factory=lambda: PASSWORDS)
    port: int = field(default_factory=find_free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def database(self) -> Path:
        return self.data / "barnabee.db"

    @property
    def log(self) -> str:
        return (self.directory / "worker.log").read_text()

    def start(self) -> None:
        credentials = self.directory / "credentials"
        credentials.mkdir(parents=True, exist_ok=True)
        self.data.mkdir(parents=True, exist_ok=True)
        (credentials / "api_token").write_text(self.token)
        write_passwords(credentials, self.passwords)
        graph = (ROOT / "system.toml").read_text()
        changed, count = re.subn(r"(?m)^port = 8002$", f"port = {self.port}", graph)
        assert count == 1
        changed, count = re.subn(
            r"(?m)^every_s = 300 ", f"every_s = {self.probe_every_s} ", changed
        )
        assert count == 1
        (self.directory / "system.toml").write_text(changed)
        with (self.directory / "worker.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.directory,
                env={
                    **os.environ,
                    "PYTHONPATH": str(ROOT / "src"),
                    "BARNABEE_SYSTEM": str(self.directory / "system.toml"),
                    "BARNABEE_DATA": str(self.data),
                    "DATABASE_PATH": str(self.database),
                    "REDIS_URL": self.redis_url,
                    "CREDENTIALS_DIRECTORY": str(credentials),
                    **self.environment,
                },
            )

    async def health(self) -> dict[str, Any]:
        """Return its health report; AssertionError while it does not answer."""
        try:
            async with httpx.AsyncClient() as client:
                url = f"http://127.0.0.1:{self.port}/health/ready"
                headers = {"Authorization": f"Bearer {self.token}"}
                answer = await client.get(url, headers=headers, timeout=5)
        except httpx.TransportError as error:
            raise AssertionError(str(error)) from error
        found: dict[str, Any] = answer.json()
        assert (answer.status_code == 200) == (found["status"] in {"healthy", "degraded"})
        return found

    async def wait_for_health(
        self, status: str, *, within_s: float = LAST_RESORT_S
    ) -> dict[str, Any]:
        """Wait until its health is `status`; return the report."""

        async def found() -> dict[str, Any]:
            health = await self.health()
            assert health["status"] == status, health
            return health

        return await eventually(found, within_s=within_s)

    async def metrics(self) -> str:
        async with httpx.AsyncClient() as client:
            url = f"http://127.0.0.1:{self.port}/metrics"
            answer = await client.get(url, headers={"Authorization": f"Bearer {self.token}"})
        assert answer.status_code == 200
        return answer.text

    def resident_mib(self) -> float:
        assert self.process is not None
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert found
        return int(found[1]) / 1024

    def stop(
        self, number: signal.Signals = signal.SIGKILL, *, within_s: float = LAST_RESORT_S
    ) -> int:
        """Send `number` and return the exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        code = self.process.wait(timeout=within_s)
        self.process = None
        return code

    def clean_up(self) -> None:
        if self.process is not None:
            self.stop()
