"""Prometheus scrapes what the local runner scrapes, and more; Alertmanager gets its channels."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from barnabee.core import system
from barnabee.up import monitoring_config, monitoring_services
from support.nix import ROOT, evaluate, needs_nixpkgs
from support.programs import needs_program

pytestmark = [needs_nixpkgs, pytest.mark.timeout(400)]
GRAPH = system.load_system(ROOT / "system.toml")
CREDENTIALS = "/run/credentials/alertmanager.service/"
MAIL = """{
  barnabee.alerts.mail = {
    to = "family@example.org";
    from = "barnabee@example.org";
    smarthost = "smtp.gmail.com:587";
    username = "barnabee";
  };
}"""
UNUSED = '{ barnabee.secrets.unused = [ "home_assistant_webhook" "heartbeat_url" ]; }'


def monitoring(extra: str = "{ }") -> Any:
    return evaluate(f'hosts.monitoring "barnabee-monitoring" ({extra})')


def test_package_writes_the_configuration_of_alertmanager_and_the_limits() -> None:
    found = monitoring()
    assert "-m barnabee.up.monitoring_config" in found["build"]
    assert "amtool check-config" in found["build"]
    assert f"--config.file={found['path']}/alertmanager.json" in found["start"]
    assert "limits.json" in found["ruleFiles"]


def test_channels_are_those_whose_secrets_exist() -> None:
    both = {
        "webhook_file": f"{CREDENTIALS}home_assistant_webhook",
        "heartbeat_file": f"{CREDENTIALS}heartbeat_url",
    }
    hosts = f"[ {{ }} ({UNUSED}) ({MAIL}) ]"
    host = '(extra: (hosts.monitoring "barnabee-monitoring" extra).channels)'
    plain, unused, mail = evaluate(f"map {host} {hosts}")
    assert plain == both
    assert unused == {}
    assert mail == both | {
        "mail_to": "family@example.org",
        "mail_from": "barnabee@example.org",
        "mail_host": "smtp.gmail.com:587",
        "mail_user": "barnabee",
        "mail_password_file": f"{CREDENTIALS}smtp_password",
        "mail_tls": True,
    }


def test_scrape_jobs_are_those_of_the_local_runner_and_the_exporters() -> None:
    found = monitoring()
    jobs = {job["job_name"]: job for job in found["jobs"]}
    local = monitoring_config.make_prometheus_config(GRAPH, host="here", rules=[], token_file="t")
    assert {job["job_name"] for job in local["scrape_configs"]} <= set(jobs)
    assert {"loki", "redis", "nginx", "nvidia"} <= set(jobs)
    for name in monitoring_config.list_scraped_services(GRAPH):
        (place,) = jobs[f"barnabee-{name}"]["static_configs"]
        assert place["labels"]["component"] == name
        assert place["labels"]["host"] in GRAPH.host
        assert jobs[f"barnabee-{name}"]["authorization"]["credentials_file"].endswith(
            "metrics_token"
        )
    machines = {place["labels"]["host"] for place in jobs["node"]["static_configs"]}
    without_exporter = {"battleserver"}  # a Proxmox node
    assert machines == set(GRAPH.host) - without_exporter
    files = {
        path.name for path in (monitoring_services.monitoring_directory() / "alerts").glob("*.yml")
    }
    assert set(found["ruleFiles"]) == files | {"limits.json"}


def test_only_the_monitoring_host_may_connect_to_the_exporters() -> None:
    for host, ports in {
        "barnabee-core": (9100, 9113, 9121),
        "barnabee-gpu": (9100, 9835),
        "beast": (9100,),
    }.items():
        rules = evaluate(f'(hosts.report "{host}" {{ }}).firewall.rules').splitlines()
        for port in ports:
            assert f"ip saddr {{ 10.77.0.13 }} tcp dport {port} accept" in rules


@needs_program("promtool", "prometheus")
def test_promtool_accepts_the_scrape_jobs(tmp_path: Path) -> None:
    file = tmp_path / "prometheus.json"
    file.write_text(json.dumps({"scrape_configs": monitoring()["jobs"]}))
    command = ["promtool", "check", "config", "--syntax-only", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
