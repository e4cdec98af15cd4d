"""Real api (`python -m barnabee.api`) on a free port."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import tomli_w

from support.redis import write_passwords
from support.wait import LAST_RESORT_S, eventually, find_free_port

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "api-test-token"
HOME_TOKEN = "home-token"


@dataclass
class ApiProcess:
    """Process of the api; `tables` change its system.toml, `environment` its environment."""

    directory: Path
    redis_url: str
    tables: dict[str, dict[str, Any]] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    token: str = TOKEN
    home_token: str = HOME_TOKEN
    port: int = field(default_factory=find_free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def data(self) -> Path:
        return self.directory / "data"

    @property
    def credentials(self) -> Path:
        return self.directory / "credentials"

    @property
    def log(self) -> str:
        return (self.directory / "api.jsonl").read_text(encoding="utf-8")

    def read_log(self, event: str) -> list[dict[str, Any]]:
        """Return the log records of `event`."""
        found = [json.loads(line) for line in self.log.splitlines() if line.startswith("{")]
        return [line for line in found if line["event"] == event]

    def start(self) -> ApiProcess:
        """Start the process; does not wait until it is ready."""
        graph = tomllib.loads((ROOT / "system.toml").read_text(encoding="utf-8"))
        graph["service"]["api"]["port"] = self.port
        for table, changes in self.tables.items():
            graph[table].update(changes)
        self.data.mkdir(parents=True, exist_ok=True)
        self.credentials.mkdir(parents=True, exist_ok=True)
        (self.credentials / "api_token").write_text(self.token, encoding="utf-8")
        write_passwords(self.credentials)
        (self.credentials / "home_assistant_token").write_text(self.home_token, encoding="utf-8")
        (self.directory / "system.toml").write_text(tomli_w.dumps(graph), encoding="utf-8")
        with (self.directory / "api.jsonl").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "barnabee.api"],
                stdout=log,
                stderr=subprocess.STDOUT,
                env={
                    **os.environ,
                    "PYTHONPATH": str(ROOT / "src"),
                    "BARNABEE_SYSTEM": str(self.directory / "system.toml"),
                    "BARNABEE_DATA": str(self.data),
                    "DATABASE_PATH": str(self.data / "barnabee.db"),
                    "REDIS_URL": self.redis_url,
                    "CREDENTIALS_DIRECTORY": str(self.credentials),
                    **self.environment,
                },
            )
        return self

    def client(self, **options: Any) -> httpx.AsyncClient:
        """Return a client with the token."""
        options.setdefault("headers", {"Authorization": f"Bearer {self.token}"})
        return httpx.AsyncClient(base_url=self.url, timeout=30, trust_env=False, **options)

    async def health(self) -> dict[str, Any]:
        """Return the readiness report; AssertionError while there is no answer."""
        try:
            async with self.client() as client:
                answer = await client.get("/health/ready")
        except httpx.TransportError as error:
            raise AssertionError(str(error)) from error
        found: dict[str, Any] = answer.json()
        assert (answer.status_code == 200) == (found["status"] in {"healthy", "degraded"})
        return found

    async def wait_until_unhealthy(
        self, *names: str, within_s: float = LAST_RESORT_S
    ) -> dict[str, Any]:
        """Return the report once exactly `names` (and possibly the worker) are not healthy."""

        async def found() -> dict[str, Any]:
            health = await self.health()
            bad = {
                name for name, one in health["dependencies"].items() if one["status"] != "healthy"
            }
            assert bad - {"worker"} == set(names), bad
            return health

        return await eventually(found, within_s=within_s)

    def stop(self) -> int:
        """Send SIGTERM; return the exit status."""
        return self._end("terminate")

    def kill(self) -> int:
        """Send SIGKILL; return the exit status."""
        return self._end("kill")

    def _end(self, how: str) -> int:
        if self.process is None:
            return 0
        getattr(self.process, how)()
        status = self.process.wait(timeout=LAST_RESORT_S)
        self.process = None
        return status
