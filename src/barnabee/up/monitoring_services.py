"""Commands and configuration files of the monitoring programs (`up --monitoring`).

The files are written anew at every start with mode 0600, because one contains the address of a
webhook, which is a secret.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from barnabee.core.tokens import Scope
from barnabee.up import monitoring_config, secrets
from barnabee.up.deployment import CommandFactory, LocalDeployment, NodeCommand
from barnabee.up.packages import find_program
from barnabee.up.paths import checkout_directory

# The names of Debian's programs, and of their packages.
PROGRAMS = {
    "prometheus": "prometheus",
    "alertmanager": "prometheus-alertmanager",
    "node": "prometheus-node-exporter",
    "blackbox": "prometheus-blackbox-exporter",
}
WEBHOOK = "home_assistant_webhook"
HEARTBEAT = "heartbeat_url"
SMTP_PASSWORD = "smtp_password"  # noqa: S105 - the name of the file
# The variable of the user's environment for each placeholder of the mail settings.
MAIL = {
    "mail_to": "ALERT_MAIL_TO",
    "mail_from": "ALERT_MAIL_FROM",
    "mail_host": "ALERT_MAIL_SMARTHOST",
    "mail_user": "ALERT_MAIL_USERNAME",
}
# The node exporter's collectors that the alert rules use.
_COLLECTORS = ("cpu", "diskstats", "filesystem", "loadavg", "meminfo", "netdev", "uname")


def monitoring_directory() -> Path:
    """Return the checkout's directory of rules and templates."""
    return checkout_directory() / "nixos" / "monitoring"


def make_prometheus_command(deployment: LocalDeployment) -> NodeCommand:
    token = deployment.paths.run / "credentials" / "prometheus" / Scope.METRICS.credential
    limits = _write(
        deployment, "limits.json", monitoring_config.make_limit_rules(deployment.system)
    )
    config = monitoring_config.make_prometheus_config(
        deployment.system,
        host=socket.gethostname(),
        rules=[str(limits), str(monitoring_directory() / "alerts" / "*.yml")],
        token_file=str(token),
    )
    return NodeCommand(
        (
            find_program(PROGRAMS["prometheus"]),
            f"--config.file={_write(deployment, 'prometheus.json', config)}",
            f"--storage.tsdb.path={_make_data_directory(deployment, 'prometheus')}",
            f"--storage.tsdb.retention.time={deployment.system.retention.metrics_days}d",
            f"--web.listen-address={_address(deployment, 'prometheus')}",
            *monitoring_config.PROMETHEUS_FLAGS,
            "--log.format=json",
        )
    )


def make_alertmanager_command(deployment: LocalDeployment) -> NodeCommand:
    template = json.loads((monitoring_directory() / "alertmanager.json").read_text("utf-8"))
    config = monitoring_config.make_alertmanager_config(
        template, deployment.system, read_alert_channels(deployment)
    )
    return NodeCommand(
        (
            find_program(PROGRAMS["alertmanager"]),
            f"--config.file={_write(deployment, 'alertmanager.json', config)}",
            f"--storage.path={_make_data_directory(deployment, 'alertmanager')}",
            f"--web.listen-address={_address(deployment, 'alertmanager')}",
            "--cluster.listen-address=",  # a single instance
            "--log.format=json",
        )
    )


def make_node_exporter_command(deployment: LocalDeployment) -> NodeCommand:
    return NodeCommand(
        (
            find_program(PROGRAMS["node"]),
            f"--web.listen-address={_address(deployment, 'node')}",
            "--collector.disable-defaults",
            *(f"--collector.{name}" for name in _COLLECTORS),
            "--log.format=json",
        )
    )


def make_blackbox_command(deployment: LocalDeployment) -> NodeCommand:
    config = _write(deployment, "blackbox.json", monitoring_config.make_blackbox_config())
    return NodeCommand(
        (
            find_program(PROGRAMS["blackbox"]),
            f"--config.file={config}",
            f"--web.listen-address={_address(deployment, 'blackbox')}",
            "--log.format=json",
        )
    )


COMMANDS: Mapping[str, CommandFactory] = {
    "prometheus": make_prometheus_command,
    "alertmanager": make_alertmanager_command,
    "node": make_node_exporter_command,
    "blackbox": make_blackbox_command,
}


def read_alert_channels(deployment: LocalDeployment) -> dict[str, Any]:
    """Return the configured channels for alerts by placeholder of the template; None if not set.

    The webhook's address becomes part of the configuration file: Debian's Alertmanager cannot read
    it from a file of its own.
    """
    password = deployment.paths.secrets / SMTP_PASSWORD
    issued = deployment.paths.run / "credentials" / "alertmanager" / SMTP_PASSWORD
    return {
        "webhook_url": find_webhook_url(deployment),
        "heartbeat_url": secrets.read_secret(deployment.paths, HEARTBEAT),
        "mail_password_file": str(issued) if password.is_file() else None,
        "mail_tls": True,
        **{key: deployment.environment.get(name) or None for key, name in MAIL.items()},
    }


def find_webhook_url(deployment: LocalDeployment) -> str | None:
    """Return Home Assistant's webhook for alerts: the demo home's, or the configured one."""
    if deployment.demo_home is not None:
        webhook_id = secrets.read_secret(deployment.paths, secrets.DEMO_WEBHOOK)
        return f"http://127.0.0.1:{deployment.system.port('home')}/api/webhook/{webhook_id}"
    return secrets.read_secret(deployment.paths, WEBHOOK)


def list_missing_channels(deployment: LocalDeployment) -> list[str]:
    """Return one line for each part of monitoring that is not configured or not available."""
    prometheus_url = f"http://127.0.0.1:{deployment.system.port('prometheus')}"
    missing_services = "dashboards and log search: Grafana and Loki run on NixOS only"
    lines = [f"{missing_services}; here use `./barnabee logs` and {prometheus_url}"]
    if find_webhook_url(deployment) is None:
        file = deployment.paths.secrets / WEBHOOK
        lines.append(f"alerts in Home Assistant: put the address of its webhook into {file}")
    channels = read_alert_channels(deployment)
    if any(channels[key] is None for key in (*MAIL, "mail_password_file")):
        file = deployment.paths.secrets / SMTP_PASSWORD
        lines.append(
            f"alerts by mail: set {', '.join(MAIL.values())} and put the password into {file}"
        )
    return lines


def _write(deployment: LocalDeployment, name: str, content: object) -> Path:
    directory = deployment.paths.run / "monitoring"
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = directory / name
    path.touch(mode=0o600)
    path.write_text(json.dumps(content, indent=1), encoding="utf-8")
    return path


def _make_data_directory(deployment: LocalDeployment, name: str) -> Path:
    directory = deployment.paths.data / name
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def _address(deployment: LocalDeployment, name: str) -> str:
    return f"127.0.0.1:{deployment.system.port(name)}"
