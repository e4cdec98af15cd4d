"""Configuration of Prometheus and Alertmanager, made from the graph and nixos/monitoring.

The tables are written as JSON, which is also YAML. On NixOS the scraped programs are listed in
nixos/modules/observe, whose alerting.nix runs this module when a system is built, with the
arguments SYSTEM TEMPLATE CHANNELS DIRECTORY, for the other files.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from barnabee.core.schema import System
from barnabee.core.system import load_system

SCRAPE_S = 15
# Alerts sent before Prometheus has found Alertmanager are lost, and by default they are only sent
# again after a minute. nixos/modules/observe/prometheus.nix sets the same.
PROMETHEUS_FLAGS = (f"--rules.alert.resend-delay={SCRAPE_S}s",)
_PLACEHOLDER = re.compile(r"@([a-z_]+)@")
# Tables of system.toml whose numbers are used as limits by rules and dashboards.
LIMIT_TABLES = ("acceptance", "alert", "probe", "stage")

JsonTable = dict[str, Any]


def fill_template(template: Any, values: Mapping[str, Any]) -> Any:
    """Return `template` with each `@name@` replaced; None where a value is missing or None.

    A list drops the items that would be None, so that nothing unconfigured is in the result. A
    string that is only `@name@` becomes the value itself.
    """
    if isinstance(template, dict):
        table = {key: fill_template(value, values) for key, value in template.items()}
        return None if None in table.values() else table
    if isinstance(template, list):
        items = (fill_template(item, values) for item in template)
        return [item for item in items if item is not None]
    if not isinstance(template, str):
        return template
    names = _PLACEHOLDER.findall(template)
    if any(values.get(name) is None for name in names):
        return None
    if names and template == f"@{names[0]}@":
        return values[names[0]]
    return _PLACEHOLDER.sub(lambda match: str(values[match[1]]), template)


def make_alertmanager_config(
    template: JsonTable, system: System, channels: Mapping[str, Any]
) -> JsonTable:
    """Return Alertmanager's configuration; `channels` are the values of its placeholders."""
    alert = system.alert
    values = {name: getattr(alert, name) for name in ("mail_repeat_h", "heartbeat_min")}
    values["night"] = make_quiet_ranges(alert.quiet_from_h, alert.quiet_until_h)
    filled: JsonTable = fill_template(template, {**values, **channels})
    return filled


def make_quiet_ranges(from_h: int, until_h: int) -> list[dict[str, str]] | None:
    """Return the quiet hours as Alertmanager's ranges, none of which crosses midnight."""
    start, end = f"{from_h:02}:00", f"{until_h:02}:00"
    if from_h == until_h:
        return None
    if from_h < until_h:
        return [{"start_time": start, "end_time": end}]
    evening = {"start_time": start, "end_time": "24:00"}
    return [evening, *([{"start_time": "00:00", "end_time": end}] if until_h else [])]


def make_limit_rules(system: System) -> JsonTable:
    """Return recording rules for the limits of system.toml and for the expected jobs.

    As rules, and not as metrics of a service, they exist even when every service is down.
    """
    rules = [
        {"record": name, "expr": f"vector({value})", "labels": labels}
        for name, value, labels in (*_limits(system), *_expected_jobs(system))
    ]
    return {"groups": [{"name": "limits", "interval": "5s", "rules": rules}]}


def _limits(system: System) -> Iterator[tuple[str, int, dict[str, str]]]:
    for table in LIMIT_TABLES:
        numbers: dict[str, int] = getattr(system, table).model_dump()
        for key in sorted(numbers):
            yield "barnabee_limit", numbers[key], {"name": f"{table}.{key}"}


def _expected_jobs(system: System) -> Iterator[tuple[str, int, dict[str, str]]]:
    for service in list_scraped_services(system):
        yield "barnabee_expected", 1, {"job": f"barnabee-{service}"}


def list_scraped_services(system: System) -> list[str]:
    """Return the services that have metrics."""
    return sorted(name for name, node in system.service.items() if node.probe == "http")


def make_prometheus_config(
    system: System, *, host: str, rules: list[str], token_file: str
) -> JsonTable:
    """Return Prometheus' configuration for a deployment on one machine."""
    return {
        "global": {"scrape_interval": f"{SCRAPE_S}s", "evaluation_interval": f"{SCRAPE_S}s"},
        "rule_files": rules,
        "scrape_configs": [
            *(
                _service_job(system, name, host, token_file)
                for name in list_scraped_services(system)
            ),
            *(_program_job(system, name, host) for name in ("prometheus", "alertmanager", "node")),
            _page_job(system, host),
        ],
        "alerting": {"alertmanagers": [{"static_configs": [_target(system, "alertmanager")]}]},
    }


def make_blackbox_config() -> JsonTable:
    """Return the blackbox exporter's configuration: one HTTP module."""
    page = {"prober": "http", "timeout": "5s"}
    return {"modules": {"page": page}}


def _service_job(system: System, service: str, host: str, token_file: str) -> JsonTable:
    return {
        "job_name": f"barnabee-{service}",
        "metrics_path": "/metrics",
        "authorization": {"credentials_file": token_file},
        "static_configs": [_target(system, service, component=service, host=host)],
    }


def _program_job(system: System, name: str, host: str) -> JsonTable:
    return {"job_name": name, "static_configs": [_target(system, name, host=host)]}


def _page_job(system: System, host: str) -> JsonTable:
    """Return the job in which the blackbox exporter opens a page as a browser does."""
    page = f"http://127.0.0.1:{system.port('api')}/health/live"
    return {
        "job_name": "blackbox",
        "metrics_path": "/probe",
        "params": {"module": ["page"], "target": [page]},
        "static_configs": [_target(system, "blackbox", host=host)],
    }


def _target(system: System, name: str, **labels: str) -> JsonTable:
    target: JsonTable = {"targets": [f"127.0.0.1:{system.port(name)}"]}
    return target | ({"labels": labels} if labels else {})


def write_alerting_files(system: Path, template: Path, channels: Path, directory: Path) -> None:
    """Write `limits.json`, rules of Prometheus, and `alertmanager.json` into `directory`."""
    loaded = load_system(system)
    files = {
        "limits.json": make_limit_rules(loaded),
        "alertmanager.json": make_alertmanager_config(
            json.loads(template.read_text("utf-8")), loaded, json.loads(channels.read_text("utf-8"))
        ),
    }
    for name, content in files.items():
        (directory / name).write_text(json.dumps(content, indent=1), encoding="utf-8")


if __name__ == "__main__":
    write_alerting_files(*map(Path, sys.argv[1:]))
