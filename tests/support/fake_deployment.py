"""Deployment of fake services on free ports, run by the real runner.

As a program, `python fake_deployment.py DESCRIPTION.json [-d]` is `barnabee up` for it.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import tomli_w
from rich.console import Console

from barnabee.core import system
from barnabee.up import launch, orphans, run_state
from barnabee.up.console import PlainView
from barnabee.up.deployment import LocalDeployment, NodeCommand
from barnabee.up.paths import Paths
from support.wait import LAST_RESORT_S, eventually, find_free_port

FAKE_SERVICE = Path(__file__).with_name("fake_service.py")
ROOT = Path(__file__).resolve().parents[2]


@dataclass
class FakeDeployment:
    """Nodes added with `add`; `start` starts a real runner."""

    directory: Path
    nodes: dict[str, dict[str, Any]] = field(default_factory=dict)
    arguments: dict[str, list[str]] = field(default_factory=dict)
    runners: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def paths(self) -> Paths:
        return Paths(self.directory / "home")

    def add(self, name: str, *arguments: str, **keys: Any) -> int:
        """Add a node whose fake service gets `arguments`; return its port."""
        port = keys.pop("port", None) or find_free_port()
        self.nodes[name] = {
            "summary": name,
            "role": "core",
            "port": port,
            "probe": "http",
            "startup_budget_s": 120,
            "memory_max_mib": 256,
            "restart_delay_ms": 100,
        } | keys
        self.arguments[name] = ["--port", str(port), *arguments]
        return int(port)

    def add_oneshot(self, name: str, code: str = "", **keys: Any) -> None:
        """Add a oneshot that runs a line of Python."""
        self.add(name, **keys)
        del self.nodes[name]["port"]
        self.nodes[name] |= {"kind": "oneshot", "probe": "exit"}
        self.arguments[name] = ["-c", code]

    def write(self) -> Path:
        """Write system.toml and the description; return the path of the description."""
        base = tomllib.loads((ROOT / "system.toml").read_text(encoding="utf-8"))
        base |= {"service": self.nodes, "companion": {}}
        self.directory.mkdir(parents=True, exist_ok=True)
        (self.directory / "system.toml").write_text(tomli_w.dumps(base), encoding="utf-8")
        description = self.directory / "description.json"
        description.write_text(json.dumps({"arguments": self.arguments}), encoding="utf-8")
        return description

    def start(self, *options: str) -> subprocess.Popen[str]:
        runner = subprocess.Popen(
            [sys.executable, __file__, str(self.write()), *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT / 'tests'}"},
        )
        self.runners.append(runner)
        return runner

    async def wait_for_phase(
        self, name: str, phase: str, within_s: float = LAST_RESORT_S
    ) -> run_state.NodeState:
        """Wait until node `name` is in `phase`; return it."""

        async def reached() -> run_state.NodeState:
            node = self.read_state().nodes[name]
            assert node.phase == phase, f"{name} is {node.phase}: {node.reason}"
            return node

        return await eventually(reached, within_s=within_s)

    async def wait_until_healthy(self, within_s: float = LAST_RESORT_S) -> run_state.RunState:
        """Wait until the runner reports that all nodes are healthy."""

        async def all_healthy() -> run_state.RunState:
            run = self.read_state()
            assert run.healthy_s is not None, run.nodes
            return run

        return await eventually(all_healthy, within_s=within_s)

    def read_state(self) -> run_state.RunState:
        """Return the state that the runner wrote last."""
        run = run_state.read_state(self.paths)
        assert run is not None, "the runner has written no state yet"
        return run

    def read_log(self) -> list[dict[str, Any]]:
        text = self.paths.log.read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines()]

    def find_processes(self) -> list[psutil.Process]:
        """Return the processes of this deployment, without the runner."""
        return orphans.find_processes(self.paths.run_id)

    async def stop(self, number: signal.Signals = signal.SIGINT) -> str:
        """Signal the newest runner, wait for its end and return its output."""
        runner = self.runners[-1]
        runner.send_signal(number)
        output, _ = await asyncio.to_thread(runner.communicate, timeout=LAST_RESORT_S)
        return output

    def clean_up(self) -> None:
        """End the runners and all processes that are left."""
        for runner in self.runners:
            runner.kill()
            runner.wait()
        run = run_state.read_state(self.paths)
        if run is not None and run.is_alive:
            psutil.Process(run.pid).kill()
        orphans.kill_processes(self.find_processes())


def make_node_command(arguments: list[str]) -> NodeCommand:
    """Return the fake service, or a line of Python for a oneshot."""
    script = [] if arguments[0] == "-c" else [str(FAKE_SERVICE)]
    final = frozenset({2})
    return NodeCommand((sys.executable, *script, *arguments), final_statuses=final)


def load_deployment(directory: Path, environment: Mapping[str, str]) -> LocalDeployment:
    """Return the deployment that `FakeDeployment.write` described."""
    file = directory / "system.toml"
    paths = Paths(directory / "home")
    return LocalDeployment(system.load_system(file), file, paths, directory / "models", environment)


def main() -> None:
    description = Path(sys.argv[1])
    arguments = json.loads(description.read_text(encoding="utf-8"))["arguments"]
    commands = {
        name: lambda _, args=args: make_node_command(args) for name, args in arguments.items()
    }
    deployment = load_deployment(description.parent, os.environ)
    view = PlainView(Console(), lambda: "farewell")
    try:
        if "-d" in sys.argv:
            launch.run_detached(deployment, view, commands=commands)
        else:
            launch.run_in_foreground(deployment, view, commands=commands)
    except launch.BarnabeeError as error:
        print(f"{error.code}: {error}")
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
