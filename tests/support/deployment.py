"""The whole house for a test: the real graph on free ports, in a directory of its own.

Real Redis, SQLite, Litestream, S3 server, inference on real models, API, worker, Home Assistant;
started and stopped by the same command line that people use.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tomllib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import tomli_w

from barnabee.up import orphans, run_state
from barnabee.up.paths import Paths
from support.wait import eventually, free_port

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class WholeHouse:
    """`directory` holds everything; `demo_home` adds the real Home Assistant."""

    directory: Path
    demo_home: bool = True
    monitoring: bool = False
    # keys of system.toml to change: of services, and of other tables
    service: dict[str, dict[str, Any]] = field(default_factory=dict)
    tables: dict[str, dict[str, Any]] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Write a graph like the shipped one, on ports nobody else has."""
        graph = tomllib.loads((ROOT / "system.toml").read_text(encoding="utf-8"))
        for table in ("service", "companion"):
            for name, node in graph[table].items():
                if "port" in node:
                    node["port"] = self.ports[name] = free_port()
                node.update(self.service.get(name, {}))
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
        """Return the environment of a command of this house."""
        return {
            **os.environ,
            "PYTHONPATH": str(ROOT / "src"),
            "BARNABEE_HOME": str(self.paths.root),
            "BARNABEE_SYSTEM": str(self.system_file),
        }

    def cli(self, *arguments: str, limit_s: float = 120) -> subprocess.CompletedProcess[str]:
        """Run `barnabee …` and return how it ended."""
        return subprocess.run(
            [sys.executable, "-m", "barnabee", *arguments],
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=limit_s,
            check=False,
        )

    def up(self) -> None:
        """Start everything and wait until all of it is healthy."""
        options = ["--demo-home"] if self.demo_home else []
        options += ["--monitoring"] if self.monitoring else []
        for step in (["up", "-d", *options], ["health", "--wait", "60"]):
            done = self.cli(*step, limit_s=400)  # the first time it records phrases
            assert done.returncode == 0, f"barnabee {step}: {done.stdout}{done.stderr}{self.tail()}"

    def down(self) -> None:
        """Stop everything."""
        done = self.cli("down")
        assert done.returncode == 0, done.stdout + done.stderr

    def clean(self) -> None:
        """Leave nothing behind, whatever the test did."""
        run = run_state.read_state(self.paths)
        if run is not None and run.is_alive:
            psutil.Process(run.pid).kill()
        orphans.kill_processes(orphans.find_processes(self.paths.run_id))

    def node(self, name: str) -> run_state.NodeState:
        """Return what the runner knows of `name`."""
        run = run_state.read_state(self.paths)
        assert run is not None
        return run.nodes[name]

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> int:
        """Signal the process of `name`; return its pid."""
        pid = self.node(name).pid
        assert pid is not None, f"{name} does not run"
        os.kill(pid, number)
        return pid

    def tail(self) -> str:
        """Return the end of the log, for a failure's message."""
        try:
            return "\n" + "\n".join(self.paths.log.read_text(encoding="utf-8").splitlines()[-30:])
        except OSError:
            return "\n(no log)"

    @asynccontextmanager
    async def client(self, name: str = "api") -> AsyncIterator[httpx.AsyncClient]:
        """Yield a client of `name` that has the token."""
        headers = {"Authorization": f"Bearer {self.token}"}
        async with httpx.AsyncClient(
            base_url=self.url(name), headers=headers, timeout=20
        ) as client:
            yield client

    async def command(self, utterance: str, **fields: Any) -> dict[str, Any]:
        """Send one utterance; return the answer."""
        async with self.client() as client:
            response = await client.post("/v1/command", json={"utterance": utterance, **fields})
        assert response.status_code == 200, response.text
        body: dict[str, Any] = response.json()
        return body

    async def health(self, name: str = "api") -> dict[str, Any]:
        """Return a service's readiness report, whatever its status."""
        try:
            async with self.client(name) as client:
                body: dict[str, Any] = (await client.get("/health/ready")).json()
        except httpx.HTTPError as error:
            raise ConnectionError(repr(error)) from error
        return body

    async def until_healthy(self, within_s: float) -> None:
        """Wait until the runner and the API both say that everything is well."""

        async def well() -> bool:
            run = run_state.read_state(self.paths)
            assert run is not None
            bad = {name: node.state for name, node in run.nodes.items() if node.state != "healthy"}
            assert not bad, bad
            report = await self.health()
            assert report["status"] == "healthy", report
            return True

        await eventually(well, within_s=within_s)

    async def light(self) -> str:
        """Return the state of the kitchen light as Home Assistant itself has it."""
        token = (self.paths.secrets / "demo_home_token").read_text(encoding="utf-8").strip()
        headers = {"Authorization": f"Bearer {token}"}
        async with httpx.AsyncClient(base_url=self.url("home"), headers=headers) as client:
            return str((await client.get("/api/states/light.kitchen_light")).json()["state"])


@dataclass
class Conversation:
    """Somebody who keeps asking; remembers every answer that was accepted."""

    house: WholeHouse
    accepted: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    async def talk(self) -> None:
        """Ask again and again until cancelled."""
        async with self.house.client() as client:
            while True:
                try:
                    answer = await client.post("/v1/command", json={"utterance": "what time is it"})
                except httpx.HTTPError as error:
                    self.refused.append(repr(error))
                else:
                    good = answer.status_code == 200
                    (self.accepted if good else self.refused).append(answer.json()["trace_id"])
                await asyncio.sleep(0.1)

    async def recorded(self, within_s: float = 20) -> None:
        """Wait until every accepted turn is in the record."""

        async def all_there() -> bool:
            async with self.house.client() as client:
                missing = [
                    one
                    for one in self.accepted
                    if (await client.get(f"/v1/turns/{one}")).status_code != 200
                ]
            assert not missing, f"{len(missing)} of {len(self.accepted)} turns are missing"
            return True

        await eventually(all_there, within_s=within_s, every_s=0.5)
