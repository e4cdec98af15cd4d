"""Prometheus and Alertmanager on NixOS read what the local runner gives them, and more."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from barnabee.core import system
from barnabee.up import monitoring_config, monitoring_services
from support.nix import ROOT, evaluate, needs_nixpkgs

pytestmark = [needs_nixpkgs, pytest.mark.timeout(400)]
GRAPH = system.load(ROOT / "system.toml")
TEMPLATE = json.loads(
    (monitoring_services.files() / "alertmanager.json").read_text(encoding="utf-8")
)
CREDENTIALS = "/run/credentials/alertmanager.service/"
MAIL = """{
  barnabee.alerts.mail = {
    to = "family@example.org";
    from = "house@example.org";
    smarthost = "smtp.gmail.com:587";
    username = "house";
  };
  barnabee.system.alert.quiet_from_h = 1;
  barnabee.system.alert.quiet_until_h = 6;
}"""
UNUSED = '{ barnabee.secrets.unused = [ "home_assistant_webhook" "heartbeat_url" ]; }'


def watching(extra: str = "{ }") -> Any:
    return evaluate(f'hosts.watching "barnabee-monitoring" ({extra})')


def test_limits_and_expected_jobs_are_the_same_rules() -> None:
    assert watching()["limits"] == monitoring_config.limits(GRAPH)


def test_alertmanager_is_told_the_same() -> None:
    ways = {
        "webhook_file": f"{CREDENTIALS}home_assistant_webhook",
        "heartbeat_file": f"{CREDENTIALS}heartbeat_url",
    }
    assert watching()["alertmanager"] == monitoring_config.alertmanager(TEMPLATE, GRAPH, ways)


def test_a_house_with_mail_other_nights_and_no_webhook() -> None:
    alert = GRAPH.alert.model_copy(update={"quiet_from_h": 1, "quiet_until_h": 6})
    graph = GRAPH.model_copy(update={"alert": alert})
    ways = {
        "webhook_file": f"{CREDENTIALS}home_assistant_webhook",
        "heartbeat_file": f"{CREDENTIALS}heartbeat_url",
        "mail_to": "family@example.org",
        "mail_from": "house@example.org",
        "mail_host": "smtp.gmail.com:587",
        "mail_user": "house",
        "mail_password_file": f"{CREDENTIALS}smtp_password",
        "mail_tls": True,
    }
    assert watching(MAIL)["alertmanager"] == monitoring_config.alertmanager(TEMPLATE, graph, ways)
    assert watching(UNUSED)["alertmanager"] == monitoring_config.alertmanager(TEMPLATE, GRAPH, {})


def test_everything_is_asked_that_the_local_runner_asks_and_the_machines_exporters() -> None:
    found = watching()
    jobs = {job["job_name"]: job for job in found["jobs"]}
    local = monitoring_config.prometheus(GRAPH, host="here", rules=[], token_file="t")
    assert {job["job_name"] for job in local["scrape_configs"]} <= set(jobs)
    assert {"loki", "redis", "nginx", "nvidia"} <= set(jobs)
    for name in monitoring_config.asked(GRAPH):
        (place,) = jobs[f"barnabee-{name}"]["static_configs"]
        assert place["labels"]["component"] == name
        assert place["labels"]["host"] in GRAPH.host
        assert jobs[f"barnabee-{name}"]["authorization"]["credentials_file"].endswith("api_token")
    machines = {place["labels"]["host"] for place in jobs["node"]["static_configs"]}
    carrying = {"battleserver"}  # it has no exporter: its silence must not be told
    assert machines == set(GRAPH.host) - carrying
    files = {path.name for path in (monitoring_services.files() / "alerts").glob("*.yml")}
    assert set(found["ruleFiles"]) == files


def test_every_exporter_may_be_asked_by_monitoring_and_nobody_else() -> None:
    for host, ports in {
        "barnabee-core": (9100, 9113, 9121),
        "barnabee-gpu": (9100, 9835),
        "beast": (9100,),
    }.items():
        rules = evaluate(f'(hosts.report "{host}" {{ }}).firewall.rules').splitlines()
        for port in ports:
            assert f"ip saddr {{ 10.77.0.13 }} tcp dport {port} accept" in rules


@pytest.mark.skipif(shutil.which("promtool") is None, reason="there is no promtool here")
def test_promtool_takes_the_jobs(tmp_path: Path) -> None:
    file = tmp_path / "prometheus.json"
    file.write_text(json.dumps({"scrape_configs": watching()["jobs"]}))
    command = ["promtool", "check", "config", "--syntax-only", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
