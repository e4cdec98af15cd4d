"""How the programs that watch the house are started (`up --monitoring`), with what they read.

Their files are written anew at every start, for the owner's eyes alone: an address that nobody
else may know is in one of them.
"""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

from barnabee.up import monitoring_config, secrets
from barnabee.up.node_commands import Command, House, program
from barnabee.up.paths import checkout

# Programs are Debian's, and so are their packages.
PROGRAMS = {
    "prometheus": "prometheus",
    "alertmanager": "prometheus-alertmanager",
    "node": "prometheus-node-exporter",
    "blackbox": "prometheus-blackbox-exporter",
}
WEBHOOK = "home_assistant_webhook"
HEARTBEAT = "heartbeat_url"
SMTP_PASSWORD = "smtp_password"  # noqa: S105 - the name of the file
# Where mail goes and who sends it: what the user's environment says, by placeholder.
MAIL = {
    "mail_to": "ALERT_MAIL_TO",
    "mail_from": "ALERT_MAIL_FROM",
    "mail_host": "ALERT_MAIL_SMARTHOST",
    "mail_user": "ALERT_MAIL_USERNAME",
}
# What the rules ask for; the exporter's other collectors only cost time.
_COLLECTORS = ("cpu", "diskstats", "filesystem", "loadavg", "meminfo", "netdev", "uname")


def files() -> Path:
    """Return the folder with rules and templates, which a checkout has."""
    return checkout() / "nixos" / "monitoring"


def prometheus(house: House) -> Command:
    """Return how Prometheus is started; rules and retention are the checkout's."""
    token = house.paths.run / "credentials" / "prometheus" / secrets.API_TOKEN
    limits = _write(house, "limits.json", monitoring_config.limits(house.system))
    config = monitoring_config.prometheus(
        house.system,
        host=socket.gethostname(),
        rules=[str(limits), str(files() / "alerts" / "*.yml")],
        token_file=str(token),
    )
    return Command(
        (
            program(PROGRAMS["prometheus"]),
            f"--config.file={_write(house, 'prometheus.json', config)}",
            f"--storage.tsdb.path={_data(house, 'prometheus')}",
            f"--storage.tsdb.retention.time={house.system.retention.metrics_days}d",
            f"--web.listen-address={_address(house, 'prometheus')}",
            *monitoring_config.PROMETHEUS_FLAGS,
            "--log.format=json",
        )
    )


def alertmanager(house: House) -> Command:
    """Return how Alertmanager is started, with the ways that this house has."""
    template = json.loads((files() / "alertmanager.json").read_text(encoding="utf-8"))
    config = monitoring_config.alertmanager(template, house.system, ways(house))
    return Command(
        (
            program(PROGRAMS["alertmanager"]),
            f"--config.file={_write(house, 'alertmanager.json', config)}",
            f"--storage.path={_data(house, 'alertmanager')}",
            f"--web.listen-address={_address(house, 'alertmanager')}",
            "--cluster.listen-address=",  # there is one of it
            "--log.format=json",
        )
    )


def node(house: House) -> Command:
    """Return how the node exporter is started."""
    return Command(
        (
            program(PROGRAMS["node"]),
            f"--web.listen-address={_address(house, 'node')}",
            "--collector.disable-defaults",
            *(f"--collector.{name}" for name in _COLLECTORS),
            "--log.format=json",
        )
    )


def blackbox(house: House) -> Command:
    """Return how the blackbox exporter is started."""
    return Command(
        (
            program(PROGRAMS["blackbox"]),
            f"--config.file={_write(house, 'blackbox.json', monitoring_config.blackbox())}",
            f"--web.listen-address={_address(house, 'blackbox')}",
            "--log.format=json",
        )
    )


def ways(house: House) -> dict[str, Any]:
    """Return the ways out for alerts that this house has, by placeholder of the template.

    The webhook's address stands in the file itself: Debian's Alertmanager reads it from no other.
    """
    password = house.paths.secrets / SMTP_PASSWORD
    handed_out = house.paths.run / "credentials" / "alertmanager" / SMTP_PASSWORD
    return {
        "webhook_url": webhook(house),
        "heartbeat_url": secrets.read(house.paths, HEARTBEAT),
        "mail_password_file": str(handed_out) if password.is_file() else None,
        "mail_tls": True,
        **{place: house.environment.get(name) or None for place, name in MAIL.items()},
    }


def webhook(house: House) -> str | None:
    """Return where Home Assistant takes alerts: the demo home's own, or what the user gave."""
    if house.demo_home is not None:
        webhook_id = secrets.read(house.paths, secrets.DEMO_WEBHOOK)
        return f"http://127.0.0.1:{house.system.port('home')}/api/webhook/{webhook_id}"
    return secrets.read(house.paths, WEBHOOK)


def lacking(house: House) -> list[str]:
    """Return what watching does without here, each in one line."""
    port = house.system.port("prometheus")
    instead = f"`./barnabee logs` and http://127.0.0.1:{port}"
    lines = [f"dashboards, search of logs: Grafana and Loki come with NixOS alone; here {instead}"]
    if webhook(house) is None:
        where = house.paths.secrets / WEBHOOK
        lines.append(f"alerts in Home Assistant: put its webhook's address into {where}")
    given = ways(house)
    if any(given[place] is None for place in (*MAIL, "mail_password_file")):
        where = house.paths.secrets / SMTP_PASSWORD
        lines.append(f"alerts by mail: set {', '.join(MAIL.values())} and put {where} there")
    return lines


def _write(house: House, name: str, table: object) -> Path:
    folder = house.paths.run / "monitoring"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / name
    path.touch(mode=0o600)
    path.write_text(json.dumps(table, indent=1), encoding="utf-8")
    return path


def _data(house: House, name: str) -> Path:
    folder = house.paths.data / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _address(house: House, name: str) -> str:
    return f"127.0.0.1:{house.system.port(name)}"
