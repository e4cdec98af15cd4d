"""A small house for tests of the runner: fake services on free ports, run by the real runner.

As a program (`python house.py DESCRIPTION.json [-d]`) it is `barnabee up` for that house.
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
from support.wait import eventually, free_port

FAKE = Path(__file__).with_name("fake_service.py")
ROOT = Path(__file__).resolve().parents[2]


@dataclass
class SmallHouse:
    """Nodes as `add` describes them; `up` starts a real runner."""

    directory: Path
    nodes: dict[str, dict[str, Any]] = field(default_factory=dict)
    arguments: dict[str, list[str]] = field(default_factory=dict)
    runners: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def paths(self) -> Paths:
        return Paths(self.directory / "home")

    def add(self, name: str, *arguments: str, **keys: Any) -> int:
        """Add a node whose fake is called with `arguments`; return its port."""
        port = keys.pop("port", None) or free_port()
        self.nodes[name] = {
            "summary": name,
            "role": "core",
            "port": port,
            "probe": "http",
            "startup_budget_s": 20,
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
        """Write system.toml and the description; return the latter's path."""
        base = tomllib.loads((ROOT / "system.toml").read_text(encoding="utf-8"))
        base |= {"service": self.nodes, "companion": {}}
        self.directory.mkdir(parents=True, exist_ok=True)
        (self.directory / "system.toml").write_text(tomli_w.dumps(base), encoding="utf-8")
        description = self.directory / "house.json"
        description.write_text(json.dumps({"arguments": self.arguments}), encoding="utf-8")
        return description

    def up(self, *options: str) -> subprocess.Popen[str]:
        """Start the runner."""
        runner = subprocess.Popen(
            [sys.executable, __file__, str(self.write()), *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT / 'tests'}"},
        )
        self.runners.append(runner)
        return runner

    async def until(self, name: str, phase: str, within_s: float = 15) -> run_state.NodeState:
        """Wait until node `name` is in `phase`; return it."""

        async def reached() -> run_state.NodeState:
            node = self.now().nodes[name]
            assert node.phase == phase, f"{name} is {node.phase}: {node.reason}"
            return node

        return await eventually(reached, within_s=within_s)

    async def until_healthy(self, within_s: float = 15) -> run_state.RunState:
        """Wait until the runner says that all is well."""

        async def well() -> run_state.RunState:
            run = self.now()
            assert run.healthy_s is not None, run.nodes
            return run

        return await eventually(well, within_s=within_s)

    def now(self) -> run_state.RunState:
        """Return what the runner wrote last."""
        run = run_state.read_state(self.paths)
        assert run is not None, "the runner has written nothing yet"
        return run

    def log(self) -> list[dict[str, Any]]:
        """Return every log record."""
        text = self.paths.log.read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines()]

    def processes(self) -> list[psutil.Process]:
        """Return every process that belongs to this house, the runner apart."""
        return orphans.find_processes(self.paths.run_id)

    async def down(self, number: signal.Signals = signal.SIGINT) -> str:
        """Signal the newest runner and return what it printed, once it has ended."""
        runner = self.runners[-1]
        runner.send_signal(number)
        output, _ = await asyncio.to_thread(runner.communicate, timeout=15)
        return output

    def clean(self) -> None:
        """Leave nothing behind, whatever the test did."""
        for runner in self.runners:
            runner.kill()
            runner.wait()
        run = run_state.read_state(self.paths)
        if run is not None and run.is_alive:
            psutil.Process(run.pid).kill()
        orphans.kill_processes(self.processes())


def command(arguments: list[str]) -> NodeCommand:
    """Return the fake service, or a line of Python for a oneshot."""
    script = [] if arguments[0] == "-c" else [str(FAKE)]
    final = frozenset({2})
    return NodeCommand((sys.executable, *script, *arguments), final_statuses=final)


def house_at(directory: Path, environment: Mapping[str, str]) -> LocalDeployment:
    """Return the house that `SmallHouse.write` described."""
    file = directory / "system.toml"
    paths = Paths(directory / "home")
    return LocalDeployment(system.load_system(file), file, paths, directory / "models", environment)


def main() -> None:
    description = Path(sys.argv[1])
    arguments = json.loads(description.read_text(encoding="utf-8"))["arguments"]
    commands = {name: lambda _, args=args: command(args) for name, args in arguments.items()}
    house = house_at(description.parent, os.environ)
    view = PlainView(Console(), lambda: "farewell")
    try:
        if "-d" in sys.argv:
            launch.run_detached(house, view, commands=commands)
        else:
            launch.run_in_foreground(house, view, commands=commands)
    except launch.BarnabeeError as error:
        print(f"{error.code}: {error}")
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
