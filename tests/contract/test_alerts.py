"""Alerts: each has rule tests and a runbook, uses existing series, and has the right receivers."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
from pathlib import Path
from typing import Any, cast

import pytest
import typer
import yaml

from barnabee.cli.app import app
from barnabee.core import system
from barnabee.core.renamed import RENAMED_ALERTS
from barnabee.up import monitoring_config, monitoring_services
from support.alert_rules import (
    FOLDER,
    ROOT,
    find_series,
    list_exported_series,
    load_alert_rules,
    load_metrics_reference,
)
from support.programs import needs_program

GRAPH = system.load_system(ROOT / "system.toml")
RULES = load_alert_rules()
FILES = sorted((FOLDER / "alerts").glob("*.yml"))
TESTS = sorted((FOLDER / "tests").glob("*.yml"))
COMMANDS = cast("Any", typer.main.get_command(app))
needs_promtool = needs_program("promtool", "prometheus")
needs_amtool = needs_program("amtool", "prometheus-alertmanager")
# Series of third-party programs.
FOREIGN = {
    "up",
    "alertmanager_notifications_failed_total",
    "loki_distributor_lines_received_total",
    "node_filesystem_avail_bytes",
    "node_filesystem_size_bytes",
    "probe_ssl_earliest_cert_expiry",
    "probe_success",
}


def list_recorded_series() -> dict[str, set[str]]:
    """Return the label values of the series that the rules from system.toml record, by series."""
    found: dict[str, set[str]] = {}
    for rule in monitoring_config.make_limit_rules(GRAPH)["groups"][0]["rules"]:
        found.setdefault(rule["record"], set()).update(rule["labels"].values())
    return found


@pytest.mark.parametrize(
    "rules", sorted((FOLDER / "alerts").glob("*.yml")), ids=lambda path: path.stem
)
def test_every_rule_file_has_its_tests_and_names_a_service(rules: Path) -> None:
    """`common.yml` covers every service of the graph, also one without rules of its own."""
    assert (FOLDER / "tests" / rules.name).is_file()
    assert rules.stem in {"common", "proxy", *GRAPH.service}


@pytest.mark.parametrize("name", RULES)
def test_alert_has_severity_summary_action_and_runbook(name: str) -> None:
    rule = RULES[name]
    assert rule["labels"]["severity"] in {"critical", "warning", "info", "none"}
    assert rule["labels"].get("kind") in {"machine", "service", "effect", None}
    annotations = rule["annotations"]
    assert set(annotations) == {"summary", "action", "runbook"}
    assert annotations["summary"].endswith(".")
    assert not re.search(r"barnabee_|nvidia_", annotations["summary"]), (
        "summaries are for the family: no series names"
    )
    page = ROOT / annotations["runbook"]
    assert annotations["runbook"] == f"docs/runbooks/{name}.md"
    assert page.is_file()
    assert page.read_text(encoding="utf-8").startswith(f"# {name}\n")


@pytest.mark.parametrize("name", [*RULES, "TestAlert"])
def test_commands_in_runbook_and_action_exist(name: str) -> None:
    text = (ROOT / f"docs/runbooks/{name}.md").read_text(encoding="utf-8")
    text += RULES[name]["annotations"]["action"] if name in RULES else ""
    for words in re.findall(r"(?:^|`)barnabee ([a-z]+(?: [a-z]+)?)", text, re.MULTILINE):
        first, *rest = words.split()
        command = COMMANDS.commands[first]
        inner = getattr(command, "commands", None)
        if inner is not None and rest:
            assert rest[0] in inner, words


@pytest.mark.parametrize(("old", "new"), RENAMED_ALERTS.items())
def test_runbook_of_a_renamed_alert_links_to_the_new_one(old: str, new: str) -> None:
    assert new in RULES
    assert f"({new}.md)" in (ROOT / f"docs/runbooks/{old}.md").read_text(encoding="utf-8")


def test_every_runbook_belongs_to_an_alert() -> None:
    pages = {path.stem for path in (ROOT / "docs/runbooks").glob("*.md")}
    assert pages == set(RULES) | {"TestAlert"} | set(RENAMED_ALERTS)


@pytest.mark.parametrize("name", RULES)
def test_alert_uses_existing_series_and_limits(name: str) -> None:
    used = find_series(RULES[name]["expr"])
    assert used - list_exported_series() - FOREIGN - set(list_recorded_series()) == set()
    for limit in re.findall(r"barnabee_limit\{name=\"([^\"]+)\"\}", RULES[name]["expr"]):
        assert limit in list_recorded_series()["barnabee_limit"]


@pytest.mark.parametrize("name", RULES)
def test_rule_contains_no_limit_as_a_number(name: str) -> None:
    """Rules compare with series of system.toml, or with 0 and 1; a factor only changes the unit."""
    expression = re.sub(r"[\d.]+ \* scalar\(", "scalar(", RULES[name]["expr"])
    compared = re.findall(r"(?:[<>]=?|==|!=)\s*([\d.]+)", expression)
    assert set(compared) <= {"0", "1"}


def test_find_series_in_an_expression() -> None:
    expression = (
        '100 * sum by (a, b) (rate(x_total{job="c"}[5m])) / on (a) y unless z offset 5m > '
        'scalar(barnabee_limit{name="alert.q"}) or time() - w'
    )
    assert find_series(expression) - {"5m"} == {"x_total", "y", "z", "barnabee_limit", "w"}


@needs_promtool
@pytest.mark.parametrize("file", FILES, ids=lambda path: path.stem)
def test_promtool_accepts_the_rules(file: Path) -> None:
    _run("promtool", "check", "rules", str(file))


@needs_promtool
@pytest.mark.parametrize("file", TESTS, ids=lambda path: path.stem)
def test_rule_tests_pass(file: Path) -> None:
    _run("promtool", "test", "rules", str(file))


@pytest.mark.parametrize("name", [name for name in RULES if name != "Watchdog"])
def test_rule_tests_of_an_alert_cover_silent_firing_and_resolved(name: str) -> None:
    silent = fires = resolves = False
    service = RULES[name]["service"]
    files = [path for path in TESTS if path.stem in {service, f"{service}-days"}]
    cases = [yaml.safe_load(path.read_text(encoding="utf-8"))["tests"] for path in files]
    for case in itertools.chain.from_iterable(cases):
        fired_at_s: float | None = None
        for step in case["alert_rule_test"]:
            if step["alertname"] != name:
                continue
            at_s = _seconds(step["eval_time"])
            if step["exp_alerts"]:
                fires, fired_at_s = True, at_s
            elif fired_at_s is None:
                silent = True
            elif at_s > fired_at_s:
                resolves = True
    assert (silent, fires, resolves) == (True, True, True)


@needs_promtool
def test_promtool_accepts_limit_rules_and_configuration(tmp_path: Path) -> None:
    limits = tmp_path / "limits.json"
    limits.write_text(json.dumps(monitoring_config.make_limit_rules(GRAPH)))
    _run("promtool", "check", "rules", str(limits))
    (tmp_path / "token").write_text("token")
    config = monitoring_config.make_prometheus_config(
        GRAPH,
        host="here",
        rules=[str(limits), str(FOLDER / "alerts/*.yml")],
        token_file=str(tmp_path / "token"),
    )
    (tmp_path / "prometheus.json").write_text(json.dumps(config))
    _run("promtool", "check", "config", str(tmp_path / "prometheus.json"))


RECEIVERS: dict[str, dict[str, Any]] = {
    "none": {},
    "all": {
        "webhook_url": "http://home/api/webhook/x",
        "heartbeat_url": "http://outside/x",
        "mail_to": "family@example.org",
        "mail_from": "barnabee@example.org",
        "mail_host": "smtp.gmail.com:587",
        "mail_user": "barnabee@example.org",
        "mail_password_file": "/run/secret",
        "mail_tls": True,
    },
}


@needs_amtool
@pytest.mark.parametrize("receivers", RECEIVERS.values(), ids=RECEIVERS.keys())
def test_amtool_accepts_the_alertmanager_configuration(
    tmp_path: Path, receivers: dict[str, Any]
) -> None:
    template = json.loads((FOLDER / "alertmanager.json").read_text(encoding="utf-8"))
    config = monitoring_config.make_alertmanager_config(template, GRAPH, receivers)
    assert "@" not in json.dumps({key: config[key] for key in ("route", "inhibit_rules")})
    (tmp_path / "alertmanager.json").write_text(json.dumps(config))
    _run("amtool", "check-config", str(tmp_path / "alertmanager.json"))


ROUTES = {
    'alertname="Watchdog" severity="none"': "heartbeat",
    'alertname="STTServiceDown" severity="critical"': "mail,home-assistant",
    'alertname="HomeAssistantUnreachable" severity="warning" path="mail"': "mail,home-assistant",
    'alertname="ReplicaLag" severity="warning"': "home-assistant",
    'alertname="FalseWakes" severity="info"': "home-assistant",
    'alertname="TestAlert" severity="critical" trial="1"': "home-assistant",
}


@needs_amtool
@pytest.mark.parametrize(("labels", "receivers"), ROUTES.items(), ids=ROUTES.keys())
def test_alert_is_routed_to_its_receivers(tmp_path: Path, labels: str, receivers: str) -> None:
    template = json.loads((FOLDER / "alertmanager.json").read_text(encoding="utf-8"))
    file = tmp_path / "alertmanager.json"
    file.write_text(
        json.dumps(monitoring_config.make_alertmanager_config(template, GRAPH, RECEIVERS["all"]))
    )
    command = ("amtool", "config", "routes", "test", f"--config.file={file}")
    assert _run(*command, *labels.replace('"', "").split()).strip() == receivers


def test_metrics_page_is_up_to_date() -> None:
    page = (ROOT / "docs/reference/metrics.md").read_text(encoding="utf-8")
    wanted = "run PYTHONPATH=src python scripts/metrics_reference.py"
    assert page == load_metrics_reference().render_reference(), wanted


def test_metrics_and_alerts_of_the_specification_exist() -> None:
    named = {
        "barnabee_request_duration_seconds_bucket",
        "nvidia_gpu_memory_used_bytes",
        "nvidia_gpu_memory_total_bytes",
        "barnabee_health_check_database",
    }
    assert named <= list_exported_series()
    assert {"HighLatencyP95", "GPUMemoryHigh", "STTServiceDown", "DatabaseUnreachable"} <= set(
        RULES
    )


def test_every_monitoring_companion_has_a_debian_program() -> None:
    monitoring = {name for name, node in GRAPH.companion.items() if node.role == "monitoring"}
    assert monitoring == set(monitoring_services.PROGRAMS)


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _seconds(text: str) -> float:
    units = {"s": 1, "m": 60, "h": 3600}
    return sum(int(number) * units[unit] for number, unit in re.findall(r"(\d+)([smh])", text))
