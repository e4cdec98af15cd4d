"""Alerts: every one can fire, is tested, is explained, and asks for what there is."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, cast

import pytest
import typer
import yaml

from barnabee.cli.app import app
from barnabee.core import system
from barnabee.up import monitoring_config, monitoring_services
from support.alert_rules import FOLDER, ROOT, list_exported_series, load_metrics_reference, load_alert_rules, find_series

GRAPH = system.load_system(ROOT / "system.toml")
RULES = load_alert_rules()
FILES = sorted((FOLDER / "alerts").glob("*.yml"))
TESTS = sorted((FOLDER / "tests").glob("*.yml"))
COMMANDS = cast("Any", typer.main.get_command(app))
needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="there is no promtool here (Debian: prometheus)"
)
needs_amtool = pytest.mark.skipif(
    shutil.which("amtool") is None,
    reason="there is no amtool here (Debian: prometheus-alertmanager)",
)
# What programs that are not ours say of themselves.
FOREIGN = {
    "up",
    "alertmanager_notifications_failed_total",
    "loki_distributor_lines_received_total",
    "node_filesystem_avail_bytes",
    "node_filesystem_size_bytes",
    "probe_ssl_earliest_cert_expiry",
    "probe_success",
}


def recorded() -> dict[str, set[str]]:
    """Return the series that the rules made of system.toml record, with their names or jobs."""
    found: dict[str, set[str]] = {}
    for rule in monitoring_config.make_limit_rules(GRAPH)["groups"][0]["rules"]:
        found.setdefault(rule["record"], set()).update(rule["labels"].values())
    return found


@pytest.mark.parametrize("service", GRAPH.service)
def test_every_service_has_alerts_and_tests_of_them(service: str) -> None:
    assert (FOLDER / "alerts" / f"{service}.yml").is_file()
    assert (FOLDER / "tests" / f"{service}.yml").is_file()


@pytest.mark.parametrize("name", RULES)
def test_an_alert_says_what_is_wrong_what_to_do_and_where_to_read_on(name: str) -> None:
    rule = RULES[name]
    assert rule["labels"]["severity"] in {"critical", "warning", "info", "none"}
    assert rule["labels"].get("kind") in {"machine", "service", "effect", None}
    said = rule["annotations"]
    assert set(said) == {"summary", "action", "runbook"}
    assert said["summary"].endswith(".")
    assert not re.search(r"barnabee_|nvidia_", said["summary"]), "a series is no word of a family"
    page = ROOT / said["runbook"]
    assert said["runbook"] == f"docs/runbooks/{name}.md"
    assert page.is_file()
    assert page.read_text(encoding="utf-8").startswith(f"# {name}\n")


@pytest.mark.parametrize("name", [*RULES, "TestAlert"])
def test_a_command_that_somebody_is_told_to_run_exists(name: str) -> None:
    text = (ROOT / f"docs/runbooks/{name}.md").read_text(encoding="utf-8")
    text += RULES[name]["annotations"]["action"] if name in RULES else ""
    for words in re.findall(r"(?:^|`)barnabee ([a-z]+(?: [a-z]+)?)", text, re.MULTILINE):
        first, *rest = words.split()
        command = COMMANDS.commands[first]
        inner = getattr(command, "commands", None)
        if inner is not None and rest:
            assert rest[0] in inner, words


def test_every_runbook_belongs_to_an_alert() -> None:
    pages = {path.stem for path in (ROOT / "docs/runbooks").glob("*.md")}
    assert pages == set(RULES) | {"TestAlert"}


@pytest.mark.parametrize("name", RULES)
def test_an_alert_asks_for_series_that_there_are(name: str) -> None:
    asked = find_series(RULES[name]["expr"])
    assert asked - list_exported_series() - FOREIGN - set(recorded()) == set()
    for limit in re.findall(r"barnabee_limit\{name=\"([^\"]+)\"\}", RULES[name]["expr"]):
        assert limit in recorded()["barnabee_limit"]


@pytest.mark.parametrize("name", RULES)
def test_no_limit_of_an_alert_is_written_into_its_rule(name: str) -> None:
    """Comparisons are with series of system.toml, or with what means yes, no and never.

    A number before such a series changes its unit.
    """
    expression = re.sub(r"[\d.]+ \* scalar\(", "scalar(", RULES[name]["expr"])
    compared = re.findall(r"(?:[<>]=?|==|!=)\s*([\d.]+)", expression)
    assert set(compared) <= {"0", "1"}


def test_the_names_in_an_expression_are_found() -> None:
    expression = (
        '100 * sum by (a, b) (rate(x_total{job="c"}[5m])) / on (a) y unless z offset 5m > '
        'scalar(barnabee_limit{name="alert.q"}) or time() - w'
    )
    assert find_series(expression) - {"5m"} == {"x_total", "y", "z", "barnabee_limit", "w"}


@needs_promtool
@pytest.mark.parametrize("file", FILES, ids=lambda path: path.stem)
def test_promtool_takes_the_rules(file: Path) -> None:
    _run("promtool", "check", "rules", str(file))


@needs_promtool
@pytest.mark.parametrize("file", TESTS, ids=lambda path: path.stem)
def test_the_rules_do_what_their_tests_say(file: Path) -> None:
    _run("promtool", "test", "rules", str(file))


@pytest.mark.parametrize("name", [name for name in RULES if name != "Watchdog"])
def test_an_alert_is_tested_to_be_silent_to_fire_and_to_end(name: str) -> None:
    silent = fires = ends = False
    file = FOLDER / "tests" / f"{RULES[name]['service']}.yml"
    for case in yaml.safe_load(file.read_text(encoding="utf-8"))["tests"]:
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
                ends = True
    assert (silent, fires, ends) == (True, True, True)


@needs_promtool
def test_promtool_takes_what_is_made_of_system_toml(tmp_path: Path) -> None:
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


WAYS: dict[str, dict[str, Any]] = {
    "none": {},
    "all": {
        "webhook_url": "http://home/api/webhook/x",
        "heartbeat_url": "http://outside/x",
        "mail_to": "family@example.org",
        "mail_from": "house@example.org",
        "mail_host": "smtp.gmail.com:587",
        "mail_user": "house@example.org",
        "mail_password_file": "/run/secret",
        "mail_tls": True,
    },
}


@needs_amtool
@pytest.mark.parametrize("ways", WAYS.values(), ids=WAYS.keys())
def test_amtool_takes_what_is_made_of_the_template(tmp_path: Path, ways: dict[str, Any]) -> None:
    template = json.loads((FOLDER / "alertmanager.json").read_text(encoding="utf-8"))
    config = monitoring_config.make_alertmanager_config(template, GRAPH, ways)
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
def test_an_alert_takes_the_ways_it_should(tmp_path: Path, labels: str, receivers: str) -> None:
    template = json.loads((FOLDER / "alertmanager.json").read_text(encoding="utf-8"))
    file = tmp_path / "alertmanager.json"
    file.write_text(json.dumps(monitoring_config.make_alertmanager_config(template, GRAPH, WAYS["all"])))
    command = ("amtool", "config", "routes", "test", f"--config.file={file}")
    assert _run(*command, *labels.replace('"', "").split()).strip() == receivers


def test_the_page_of_metrics_is_what_the_services_export() -> None:
    page = (ROOT / "docs/reference/metrics.md").read_text(encoding="utf-8")
    wanted = "run PYTHONPATH=src python scripts/metrics_reference.py"
    assert page == load_metrics_reference().text(), wanted


def test_the_names_of_the_specification_are_exported() -> None:
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


def test_debian_has_a_program_for_every_companion_that_watches() -> None:
    watching = {name for name, node in GRAPH.companion.items() if node.role == "monitoring"}
    assert watching == set(monitoring_services.PROGRAMS)


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _seconds(text: str) -> float:
    units = {"s": 1, "m": 60, "h": 3600}
    return sum(int(number) * units[unit] for number, unit in re.findall(r"(\d+)([smh])", text))
