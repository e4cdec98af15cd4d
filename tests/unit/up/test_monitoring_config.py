"""What Prometheus and Alertmanager are told, without starting them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from barnabee.core import system
from barnabee.up import monitoring_config, monitoring_services, node_commands, plan, secrets
from barnabee.up.node_commands import House
from barnabee.up.paths import Paths

FILE = system.default_path()
GRAPH = system.load(FILE)
WATCHING = {"prometheus", "alertmanager", "node", "blackbox"}


def house(directory: Path, *, watched: bool = True, demo: bool = True, **told: str) -> House:
    paths = Paths(directory)
    paths.make()
    secrets.make(paths)
    home = directory / "venv" if demo else None
    return House(GRAPH, FILE, paths, directory, told, home, monitoring=watched)


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
def test_a_template_is_filled_and_what_lacks_a_value_is_left_out(
    template: Any, filled: Any
) -> None:
    assert monitoring_config.fill(template, {"a": 1, "b": "x", "none": None}) == filled


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
    found = monitoring_config.night(*hours)
    assert found is not None
    assert [(one["start_time"], one["end_time"]) for one in found] == ranges


def test_without_quiet_hours_no_time_is_quiet() -> None:
    """A range without hours would be all of them."""
    template = json.loads(
        (monitoring_services.files() / "alertmanager.json").read_text(encoding="utf-8")
    )
    alert = GRAPH.alert.model_copy(update={"quiet_from_h": 3, "quiet_until_h": 3})
    config = monitoring_config.alertmanager(template, GRAPH.model_copy(update={"alert": alert}), {})
    assert config["time_intervals"] == [{"name": "night", "time_intervals": []}]


def test_every_number_of_system_toml_that_a_rule_may_need_is_a_series() -> None:
    (group,) = monitoring_config.limits(GRAPH)["groups"]
    values = {
        rule["labels"]["name"]: rule["expr"]
        for rule in group["rules"]
        if rule["record"] == "barnabee_limit"
    }
    assert values["alert.latency_p95_ms"] == f"vector({GRAPH.alert.latency_p95_ms})"
    assert values["stage.stt_ms"] == f"vector({GRAPH.stage.stt_ms})"
    jobs = {rule["labels"].get("job") for rule in group["rules"]} - {None}
    assert jobs == {f"barnabee-{one}" for one in ("api", "gpu", "litestream", "voice", "worker")}


@pytest.mark.parametrize("watched", [True, False])
def test_who_watches_is_there_when_it_is_asked_for(tmp_path: Path, watched: bool) -> None:
    graph = house(tmp_path, watched=watched).graph()
    assert isinstance(graph, plan.Graph)
    assert bool(graph.nodes.keys() & WATCHING) is watched
    assert not watched or graph.nodes.keys() >= WATCHING


def test_the_demo_home_takes_alerts_where_alertmanager_sends_them(tmp_path: Path) -> None:
    found = house(tmp_path)
    webhook = monitoring_services.webhook(found)
    assert webhook is not None
    argv = node_commands.command_for("home", found).argv
    file = Path(argv[argv.index("--webhook-id-file") + 1])
    assert webhook.endswith(f"/api/webhook/{file.read_text()}")
    assert Path(argv[argv.index("--package") + 1]).is_file()


def test_a_house_of_ones_own_has_the_ways_that_it_was_given(tmp_path: Path) -> None:
    bare = house(tmp_path, demo=False)
    assert monitoring_services.webhook(bare) is None
    assert len(monitoring_services.lacking(bare)) == 3
    for name, text in (("home_assistant_webhook", "http://ha/x"), ("smtp_password", "p")):
        (bare.paths.secrets / name).write_text(text)
    given = house(
        tmp_path,
        demo=False,
        ALERT_MAIL_TO="to@example.org",
        ALERT_MAIL_FROM="from@example.org",
        ALERT_MAIL_SMARTHOST="smtp.gmail.com:587",
        ALERT_MAIL_USERNAME="user",
    )
    ways = monitoring_services.ways(given)
    assert ways["webhook_url"] == "http://ha/x"
    assert ways["mail_to"] == "to@example.org"
    assert str(ways["mail_password_file"]).endswith("credentials/alertmanager/smtp_password")
    assert len(monitoring_services.lacking(given)) == 1


@pytest.mark.skipif(shutil.which("prometheus") is None, reason="there is no Prometheus here")
def test_what_holds_an_address_is_for_its_owner_alone(tmp_path: Path) -> None:
    found = house(tmp_path)
    for name in WATCHING:
        assert node_commands.command_for(name, found).argv
    for path in (found.paths.run / "monitoring").iterdir():
        assert path.stat().st_mode & 0o077 == 0, path
