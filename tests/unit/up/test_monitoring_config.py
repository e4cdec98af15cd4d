"""Configuration of Prometheus and Alertmanager, without starting them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from barnabee.core import system
from barnabee.up import monitoring_config, monitoring_services, node_commands, plan, secrets
from barnabee.up.deployment import LocalDeployment
from barnabee.up.paths import Paths
from support.programs import needs_program

FILE = system.find_system_file()
GRAPH = system.load_system(FILE)
MONITORING_NODES = {"prometheus", "alertmanager", "node", "blackbox"}


def make_deployment(
    directory: Path, *, monitoring: bool = True, demo: bool = True, **environment: str
) -> LocalDeployment:
    paths = Paths(directory)
    paths.make()
    secrets.ensure_secrets(paths)
    home = directory / "venv" if demo else None
    return LocalDeployment(GRAPH, FILE, paths, directory, environment, home, monitoring=monitoring)


@pytest.mark.parametrize(
    ("template", "filled"),
    [
        ("@a@", 1),
        ("@a@h of @b@", "1h of x"),
        ("nothing", "nothing"),
        ("a@b", "a@b"),
        (True, True),
        (["@a@", "@none@", "y"], [1, "y"]),
        ([{"k": "@b@"}, {"k": "@none@", "l": 1}], [{"k": "x"}]),
        ({"list": [{"k": "@missing@"}]}, {"list": []}),
        ({"k": {"l": "@none@"}}, None),
    ],
)
def test_fill_template_drops_items_without_a_value(template: Any, filled: Any) -> None:
    assert monitoring_config.fill_template(template, {"a": 1, "b": "x", "none": None}) == filled


@pytest.mark.parametrize(
    ("hours", "ranges"),
    [
        ((22, 7), [("22:00", "24:00"), ("00:00", "07:00")]),
        ((22, 0), [("22:00", "24:00")]),
        ((1, 6), [("01:00", "06:00")]),
        ((0, 23), [("00:00", "23:00")]),
    ],
)
def test_quiet_hours_never_cross_midnight(
    hours: tuple[int, int], ranges: list[tuple[str, str]]
) -> None:
    found = monitoring_config.make_quiet_ranges(*hours)
    assert found is not None
    assert [(one["start_time"], one["end_time"]) for one in found] == ranges


def test_without_quiet_hours_no_time_is_quiet() -> None:
    """A time interval without ranges would match always."""
    template = json.loads(
        (monitoring_services.monitoring_directory() / "alertmanager.json").read_text(
            encoding="utf-8"
        )
    )
    alert = GRAPH.alert.model_copy(update={"quiet_from_h": 3, "quiet_until_h": 3})
    config = monitoring_config.make_alertmanager_config(
        template, GRAPH.model_copy(update={"alert": alert}), {}
    )
    assert config["time_intervals"] == [{"name": "night", "time_intervals": []}]


def test_limits_of_system_toml_are_series() -> None:
    (group,) = monitoring_config.make_limit_rules(GRAPH)["groups"]
    values = {
        rule["labels"]["name"]: rule["expr"]
        for rule in group["rules"]
        if rule["record"] == "barnabee_limit"
    }
    assert values["alert.latency_p95_ms"] == f"vector({GRAPH.alert.latency_p95_ms})"
    assert values["stage.stt_ms"] == f"vector({GRAPH.stage.stt_ms})"
    jobs = {rule["labels"].get("job") for rule in group["rules"]} - {None}
    scraped = (name for name, node in GRAPH.service.items() if node.probe == "http")
    assert jobs == {f"barnabee-{name}" for name in scraped}


@pytest.mark.parametrize("monitoring", [True, False])
def test_monitoring_nodes_exist_only_with_the_option(tmp_path: Path, monitoring: bool) -> None:
    graph = make_deployment(tmp_path, monitoring=monitoring).make_graph()
    assert isinstance(graph, plan.NodeGraph)
    assert bool(graph.nodes.keys() & MONITORING_NODES) is monitoring
    assert not monitoring or graph.nodes.keys() >= MONITORING_NODES


def test_the_demo_home_gets_the_webhook_of_alertmanager(tmp_path: Path) -> None:
    deployment = make_deployment(tmp_path)
    webhook = monitoring_services.find_webhook_url(deployment)
    assert webhook is not None
    argv = node_commands.make_command("home", deployment).argv
    file = Path(argv[argv.index("--webhook-id-file") + 1])
    assert webhook.endswith(f"/api/webhook/{file.read_text()}")
    assert Path(argv[argv.index("--package") + 1]).is_file()


def test_configured_alert_channels_are_used(tmp_path: Path) -> None:
    unconfigured = make_deployment(tmp_path, demo=False)
    assert monitoring_services.find_webhook_url(unconfigured) is None
    assert len(monitoring_services.list_missing_channels(unconfigured)) == 3
    for name, text in (("home_assistant_webhook", "http://ha/x"), ("smtp_password", "p")):
        (unconfigured.paths.secrets / name).write_text(text)
    configured = make_deployment(
        tmp_path,
        demo=False,
        ALERT_MAIL_TO="to@example.org",
        ALERT_MAIL_FROM="from@example.org",
        ALERT_MAIL_SMARTHOST="smtp.gmail.com:587",
        ALERT_MAIL_USERNAME="user",
    )
    channels = monitoring_services.read_alert_channels(configured)
    assert channels["webhook_url"] == "http://ha/x"
    assert channels["mail_to"] == "to@example.org"
    assert str(channels["mail_password_file"]).endswith("credentials/alertmanager/smtp_password")
    assert len(monitoring_services.list_missing_channels(configured)) == 1


@needs_program("prometheus", "prometheus")
def test_configuration_files_are_private(tmp_path: Path) -> None:
    deployment = make_deployment(tmp_path)
    for name in MONITORING_NODES:
        assert node_commands.make_command(name, deployment).argv
    for path in (deployment.paths.run / "monitoring").iterdir():
        assert path.stat().st_mode & 0o077 == 0, path


def test_files_have_the_limits_of_the_given_system(
    tmp_path: Path,
) -> None:
    text = system.find_system_file().read_text(encoding="utf-8")
    changed = tmp_path / "system.toml"
    changed.write_text(text.replace("quiet_from_h = 22", "quiet_from_h = 21"), encoding="utf-8")
    channels = {"webhook_file": "/run/credentials/alertmanager.service/home_assistant_webhook"}
    (tmp_path / "channels").write_text(json.dumps(channels), encoding="utf-8")
    template = monitoring_services.monitoring_directory() / "alertmanager.json"
    arguments = [changed, template, tmp_path / "channels", tmp_path]
    # As in a build: no home, no settings.
    subprocess.run(
        [sys.executable, "-m", "barnabee.up.monitoring_config", *map(str, arguments)],
        env={"PYTHONPATH": os.pathsep.join(sys.path), "HOME": "/homeless-shelter"},
        check=True,
    )
    graph = system.load_system(changed)
    assert graph.alert.quiet_from_h == 21
    written = {
        name: json.loads((tmp_path / name).read_text())
        for name in ("limits.json", "alertmanager.json")
    }
    assert written["limits.json"] == monitoring_config.make_limit_rules(graph)
    config = written["alertmanager.json"]
    assert config["receivers"][0]["webhook_configs"] == [
        {"url_file": channels["webhook_file"], "send_resolved": True}
    ]
    assert config["time_intervals"][0]["time_intervals"][0]["times"][0]["start_time"] == "21:00"
