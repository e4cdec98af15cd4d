"""Real Prometheus and Alertmanager for a test, configured as by `up --monitoring`."""

from __future__ import annotations

import json
import subprocess
import tomllib
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import tomli_w
from prometheus_client.parser import text_string_to_metric_families

from barnabee.clients.alertmanager import AlertmanagerClient
from barnabee.core import system
from barnabee.core.errors import DependencyDown
from barnabee.core.schema import System
from barnabee.up import monitoring_config, monitoring_services
from support.wait import eventually, find_free_port

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class MonitoringStack:
    """Both programs; `ways` are the values of Alertmanager's receivers, by placeholder."""

    directory: Path
    ways: dict[str, Any] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)  # instead of those in [alert]
    system: System = field(init=False)
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Set free ports, and no quiet hours unless the test sets them."""
        graph = tomllib.loads((ROOT / "system.toml").read_text(encoding="utf-8"))
        for name in ("prometheus", "alertmanager", "node", "blackbox"):
            graph["companion"][name]["port"] = find_free_port()
        graph["alert"] |= {"quiet_from_h": 0, "quiet_until_h": 0} | self.numbers
        self.directory.mkdir(parents=True)
        file = self.directory / "system.toml"
        file.write_text(tomli_w.dumps(graph), encoding="utf-8")
        self.system = system.load_system(file)

    @property
    def client(self) -> AlertmanagerClient:
        return AlertmanagerClient(self.url("alertmanager"))

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.system.port(name)}"

    def start_alertmanager(self) -> None:
        template = json.loads(
            (monitoring_services.monitoring_directory() / "alertmanager.json").read_text()
        )
        config = monitoring_config.make_alertmanager_config(template, self.system, self.ways)
        self._start(
            "alertmanager",
            f"--config.file={self._write('alertmanager.json', config)}",
            f"--storage.path={self.directory / 'alertmanager'}",
            "--cluster.listen-address=",
        )

    def start_prometheus(self) -> None:
        limits = self._write("limits.json", monitoring_config.make_limit_rules(self.system))
        token = self._write("token", "token")
        rules = [str(limits), str(monitoring_services.monitoring_directory() / "alerts" / "*.yml")]
        config = monitoring_config.make_prometheus_config(
            self.system, host="here", rules=rules, token_file=str(token)
        )
        self._start(
            "prometheus",
            f"--config.file={self._write('prometheus.json', config)}",
            f"--storage.tsdb.path={self.directory / 'prometheus'}",
            *monitoring_config.PROMETHEUS_FLAGS,
        )

    async def wait_until_ready(self) -> None:
        """Wait until Alertmanager answers."""
        client = self.client
        try:

            async def answers() -> bool:
                with suppress(DependencyDown):
                    await client.read_alerts()
                    return True
                return False

            await eventually(answers)
        finally:
            await client.aclose()

    async def sample(self, name: str, integration: str = "webhook") -> float:
        """Return a metric of Alertmanager for one kind of receiver."""
        async with httpx.AsyncClient(trust_env=False) as http:
            text = (await http.get(f"{self.url('alertmanager')}/metrics")).text
        for family in text_string_to_metric_families(text):
            for one in family.samples:
                if one.name == name and one.labels.get("integration") == integration:
                    return float(one.value)
        raise LookupError(name)

    def stop(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()

    def _start(self, name: str, *arguments: str) -> None:
        address = f"--web.listen-address=127.0.0.1:{self.system.port(name)}"
        with (self.directory / f"{name}.log").open("wb") as log:
            self.processes.append(
                subprocess.Popen(
                    [monitoring_services.PROGRAMS[name], *arguments, address],
                    stdout=log,
                    stderr=log,
                )
            )

    def _write(self, name: str, table: object) -> Path:
        path = self.directory / name
        path.write_text(json.dumps(table), encoding="utf-8")
        return path
