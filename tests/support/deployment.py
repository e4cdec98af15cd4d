"""Deployment of all real services on free ports, in its own directory.

Redis, SQLite, Litestream, S3 server, inference with real models, API, worker and Home Assistant,
started and stopped with the `barnabee` command.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import psutil
import tomli_w

from barnabee.up import orphans, run_state
from barnabee.up.paths import Paths
from support.filler_recordings import keep_recordings, restore_recordings
from support.wait import LAST_RESORT_S, eventually, find_free_port

ROOT = Path(__file__).resolve().parents[2]
KILLABLE_SERVICES = (
    "redis",
    "api",
    "worker",
    "gpu",
    "voice",
    "wyoming",
    "litestream",
    "s3",
    "home",
)
# Names in the API's readiness report; the runner alone watches the other services.
API_DEPENDENCIES = {"redis": "redis", "gpu": "gpu", "worker": "worker", "home": "home_assistant"}


@dataclass
class Deployment:
    """All services below `directory`; `demo_home` adds a real Home Assistant."""

    directory: Path
    demo_home: bool = True
    monitoring: bool = False
    # changed keys of system.toml: of services, and of other tables
    service: dict[str, dict[str, Any]] = field(default_factory=dict)
    tables: dict[str, dict[str, Any]] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Write the shipped graph with free ports."""
        graph = tomllib.loads((ROOT / "system.toml").read_text(encoding="utf-8"))
        for table in ("service", "companion"):
            for name, node in graph[table].items():
                if "port" in node:
                    node["port"] = self.ports[name] = find_free_port()
                node.update(self.service.get(name, {}))
        graph["wyoming"]["port"] = self.ports["wyoming_server"] = find_free_port()
        for table, keys in self.tables.items():
            graph[table].update(keys)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.system_file.write_text(tomli_w.dumps(graph), encoding="utf-8")

    @property
    def system_file(self) -> Path:
        return self.directory / "system.toml"

    @property
    def paths(self) -> Paths:
        return Paths(self.directory / "home")

    @property
    def token(self) -> str:
        return (self.paths.secrets / "api_token").read_text(encoding="utf-8").strip()

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.ports[name]}"

    def environment(self) -> dict[str, str]:
        """Return the environment of a `barnabee` command."""
        return {
            **os.environ,
            "PYTHONPATH": str(ROOT / "src"),
            "BARNABEE_HOME": str(self.paths.root),
            "BARNABEE_SYSTEM": str(self.system_file),
        }

    def run_cli(self, *arguments: str, limit_s: float = 300) -> subprocess.CompletedProcess[str]:
        """Run `barnabee …` and return its result."""
        return subprocess.run(
            [sys.executable, "-m", "barnabee", *arguments],
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=limit_s,
            check=False,
        )

    def start(self) -> None:
        """Start all services and wait until they are healthy."""
        restore_recordings(self.paths.data / "fillers", "deployment")
        options = ["--demo-home"] if self.demo_home else []
        options += ["--monitoring"] if self.monitoring else []
        for step in (["up", "-d", *options], ["health", "--wait", "300"]):
            done = self.run_cli(*step, limit_s=400)  # the first time it records phrases
            assert done.returncode == 0, (
                f"barnabee {step}: {done.stdout}{done.stderr}{self.read_log_tail()}"
            )
        keep_recordings(self.paths.data / "fillers", "deployment")

    @contextmanager
    def running(self) -> Iterator[Deployment]:
        """Start all services for a block and leave none of their processes."""
        try:
            self.start()
            yield self
        finally:
            self.clean_up()

    def stop(self) -> None:
        done = self.run_cli("down")
        assert done.returncode == 0, done.stdout + done.stderr

    def clean_up(self) -> None:
        """End the runner and all processes that are left."""
        run = run_state.read_state(self.paths)
        if run is not None and run.is_alive:
            psutil.Process(run.pid).kill()
        orphans.kill_processes(orphans.find_processes(self.paths.run_id))

    def read_node(self, name: str) -> run_state.NodeState:
        """Return the state of `name` that the runner wrote last."""
        run = run_state.read_state(self.paths)
        assert run is not None
        return run.nodes[name]

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> int:
        """Signal the process of `name`; return its pid."""
        pid = self.read_node(name).pid
        assert pid is not None, f"{name} does not run"
        os.kill(pid, number)
        return pid

    async def kill_and_recover(self, name: str) -> tuple[float, float]:
        """Kill a service and wait until all are healthy; return when it was noticed and recovered.

        Both in seconds after the kill.
        """
        begun_s = time.monotonic()
        killed = self.kill(name)

        async def is_noticed() -> bool:
            node = self.read_node(name)
            if node.pid != killed or node.state != "healthy":
                return True
            if name not in API_DEPENDENCIES:
                return False
            report = await self.read_health()
            return report["dependencies"][API_DEPENDENCIES[name]]["status"] != "healthy"

        await eventually(is_noticed)
        noticed_s = time.monotonic() - begun_s
        await self.wait_until_healthy()
        return noticed_s, time.monotonic() - begun_s

    def read_log_tail(self) -> str:
        """Return the end of the log, for failure messages."""
        try:
            return "\n" + "\n".join(self.paths.log.read_text(encoding="utf-8").splitlines()[-30:])
        except OSError:
            return "\n(no log)"

    @asynccontextmanager
    async def client(self, name: str = "api") -> AsyncIterator[httpx.AsyncClient]:
        """Yield an HTTP client of `name` with the token."""
        headers = {"Authorization": f"Bearer {self.token}"}
        async with httpx.AsyncClient(
            base_url=self.url(name), headers=headers, timeout=120
        ) as client:
            yield client

    async def send_command(self, utterance: str, **fields: Any) -> dict[str, Any]:
        """Send an utterance; return the response body."""
        async with self.client() as client:
            response = await client.post("/v1/command", json={"utterance": utterance, **fields})
        assert response.status_code == 200, response.text
        body: dict[str, Any] = response.json()
        return body

    async def read_health(self, name: str = "api") -> dict[str, Any]:
        """Return the readiness report of a service, for any status."""
        try:
            async with self.client(name) as client:
                body: dict[str, Any] = (await client.get("/health/ready")).json()
        except httpx.HTTPError as error:
            raise ConnectionError(repr(error)) from error
        return body

    async def wait_until_healthy(self, within_s: float = LAST_RESORT_S) -> None:
        """Wait until the runner and the API report that all is healthy."""

        async def all_healthy() -> bool:
            run = run_state.read_state(self.paths)
            assert run is not None
            bad = {name: node.state for name, node in run.nodes.items() if node.state != "healthy"}
            assert not bad, bad
            report = await self.read_health()
            assert report["status"] == "healthy", report
            return True

        await eventually(all_healthy, within_s=within_s)

    async def read_light_state(self) -> str:
        """Return the state of the kitchen light in Home Assistant."""
        token = (self.paths.secrets / "demo_home_token").read_text(encoding="utf-8").strip()
        headers = {"Authorization": f"Bearer {token}"}
        async with httpx.AsyncClient(base_url=self.url("home"), headers=headers) as client:
            return str((await client.get("/api/states/light.kitchen_light")).json()["state"])


@dataclass
class CommandLoop:
    """Sends commands in a loop and collects the trace ids of accepted and refused ones.

    `{}` in the utterance is replaced with the number of the command.
    """

    deployment: Deployment
    accepted: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    utterance: str = "what time is it"

    async def run(self) -> None:
        """Send commands until cancelled."""
        async with self.deployment.client() as client:
            for number in count():
                text = self.utterance.replace("{}", str(number))
                try:
                    answer = await client.post("/v1/command", json={"utterance": text})
                except httpx.HTTPError as error:
                    self.refused.append(repr(error))
                else:
                    good = answer.status_code == 200
                    (self.accepted if good else self.refused).append(answer.json()["trace_id"])
                await asyncio.sleep(0.1)

    async def wait_until_recorded(self, within_s: float = LAST_RESORT_S) -> None:
        """Wait until every accepted turn is in the database."""

        async def all_there() -> bool:
            async with self.deployment.client() as client:
                missing = [
                    trace_id
                    for trace_id in self.accepted
                    if (await client.get(f"/v1/turns/{trace_id}")).status_code != 200
                ]
            assert not missing, f"{len(missing)} of {len(self.accepted)} turns are missing"
            return True

        await eventually(all_there, within_s=within_s, every_s=0.5)
