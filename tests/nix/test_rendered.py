"""Configuration file of Prometheus on NixOS, checked by promtool."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from barnabee.core import system
from support.nix import ROOT, evaluate, needs_nixpkgs
from support.programs import needs_program

pytestmark = [needs_nixpkgs, pytest.mark.timeout(400)]
GRAPH = system.load_system(ROOT / "system.toml")
ALERTS = sorted((ROOT / "nixos/monitoring/alerts").glob("*.yml"))


@needs_program("promtool", "prometheus")
def test_prometheus_accepts_its_configuration_and_scrapes_every_service(tmp_path: Path) -> None:
    found: dict[str, Any] = evaluate("hosts.prometheusFile")
    jobs = {one["job_name"]: one for one in found["scrape_configs"]}
    for name, node in GRAPH.service.items():
        if node.probe == "http":
            targets = jobs[f"barnabee-{name}"]["static_configs"][0]["targets"]
            assert all(one.endswith(f":{node.port}") for one in targets), name
    named = "\n".join(found["rule_files"])
    assert all(one.name in named for one in ALERTS)
    file, secret = tmp_path / "prometheus.json", tmp_path / "secret"
    secret.write_text("made up", encoding="utf-8")
    text = json.dumps({**found, "rule_files": list(map(str, ALERTS))})
    text = re.sub(r"/run/barnabee-tokens/prometheus/\w+", str(secret), text)
    file.write_text(text, encoding="utf-8")
    command = ["promtool", "check", "config", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    print(done.stdout)
    assert done.returncode == 0, done.stderr
