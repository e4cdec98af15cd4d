"""The configuration of Prometheus and Alertmanager, out of the graph and nixos/monitoring.

Pure: returns tables, which are written as JSON, and JSON is YAML. nixos/modules/observe makes the
same out of the same files; tests/nix compares the two.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from barnabee.core.schema import System

SCRAPE_S = 15
# What Prometheus sends before it has found Alertmanager is lost, and by itself it says it again
# only after a minute. nixos/modules/observe/prometheus.nix has the same.
PROMETHEUS_FLAGS = (f"--rules.alert.resend-delay={SCRAPE_S}s",)
_PLACE = re.compile(r"@([a-z_]+)@")
# Tables of system.toml whose numbers rules and dashboards compare with.
LIMIT_TABLES = ("acceptance", "alert", "probe", "stage")

Table = dict[str, Any]


def fill(template: Any, values: Mapping[str, Any]) -> Any:
    """Return `template` with `@name@` replaced; None where a value is missing (or None).

    A list leaves out what lacks a value, so that what nobody has configured is not there; nothing
    else may lack one. A text that is nothing but `@name@` becomes the value itself.
    """
    if isinstance(template, dict):
        table = {key: fill(value, values) for key, value in template.items()}
        return None if None in table.values() else table
    if isinstance(template, list):
        return [one for one in (fill(value, values) for value in template) if one is not None]
    if not isinstance(template, str):
        return template
    names = _PLACE.findall(template)
    if any(values.get(name) is None for name in names):
        return None
    if names and template == f"@{names[0]}@":
        return values[names[0]]
    return _PLACE.sub(lambda match: str(values[match[1]]), template)


def alertmanager(template: Table, system: System, ways: Mapping[str, Any]) -> Table:
    """Return Alertmanager's configuration; `ways` are those of the house, by placeholder."""
    alert = system.alert
    numbers = ("mail_repeat_h", "heartbeat_min")
    values = {name: getattr(alert, name) for name in numbers}
    values["night"] = night(alert.quiet_from_h, alert.quiet_until_h)
    filled: Table = fill(template, {**values, **ways})
    return filled


def night(from_h: int, until_h: int) -> list[dict[str, str]] | None:
    """Return the quiet hours as Alertmanager's ranges, none of which crosses midnight."""
    start, end = f"{from_h:02}:00", f"{until_h:02}:00"
    if from_h == until_h:
        return None
    if from_h < until_h:
        return [{"start_time": start, "end_time": end}]
    evening = {"start_time": start, "end_time": "24:00"}
    return [evening, *([{"start_time": "00:00", "end_time": end}] if until_h else [])]


def limits(system: System) -> Table:
    """Return the rules that make series of system.toml: its limits, and which jobs there must be.

    Rules and no series of a service, so that a limit is there when every service is gone.
    """
    rules = [
        {"record": name, "expr": f"vector({value})", "labels": labels}
        for name, value, labels in (*_numbers(system), *_expected(system))
    ]
    return {"groups": [{"name": "limits", "interval": "5s", "rules": rules}]}


def _numbers(system: System) -> Iterator[tuple[str, int, dict[str, str]]]:
    for table in LIMIT_TABLES:
        numbers: dict[str, int] = getattr(system, table).model_dump()
        for key in sorted(numbers):
            yield "barnabee_limit", numbers[key], {"name": f"{table}.{key}"}


def _expected(system: System) -> Iterator[tuple[str, int, dict[str, str]]]:
    for service in asked(system):
        yield "barnabee_expected", 1, {"job": f"barnabee-{service}"}


def asked(system: System) -> list[str]:
    """Return the services that have metrics."""
    return sorted(name for name, node in system.service.items() if node.probe == "http")


def prometheus(system: System, *, host: str, rules: list[str], token_file: str) -> Table:
    """Return Prometheus' configuration for a house on this machine alone."""
    return {
        "global": {"scrape_interval": f"{SCRAPE_S}s", "evaluation_interval": f"{SCRAPE_S}s"},
        "rule_files": rules,
        "scrape_configs": [
            *(_job(system, name, host, token_file) for name in asked(system)),
            *(_other(system, name, host) for name in ("prometheus", "alertmanager", "node")),
            _door(system, host),
        ],
        "alerting": {"alertmanagers": [{"static_configs": [_at(system, "alertmanager")]}]},
    }


def blackbox() -> Table:
    """Return the blackbox exporter's configuration: a page that must open."""
    page = {"prober": "http", "timeout": "5s"}
    return {"modules": {"page": page}}


def _job(system: System, service: str, host: str, token_file: str) -> Table:
    return {
        "job_name": f"barnabee-{service}",
        "metrics_path": "/metrics",
        "authorization": {"credentials_file": token_file},
        "static_configs": [_at(system, service, component=service, host=host)],
    }


def _other(system: System, name: str, host: str) -> Table:
    return {"job_name": name, "static_configs": [_at(system, name, host=host)]}


def _door(system: System, host: str) -> Table:
    """The way a browser comes in, tried by the blackbox exporter."""
    page = f"http://127.0.0.1:{system.port('api')}/health/live"
    return {
        "job_name": "door",
        "metrics_path": "/probe",
        "params": {"module": ["page"], "target": [page]},
        "static_configs": [_at(system, "blackbox", host=host)],
    }


def _at(system: System, name: str, **labels: str) -> Table:
    target: Table = {"targets": [f"127.0.0.1:{system.port(name)}"]}
    return target | ({"labels": labels} if labels else {})
