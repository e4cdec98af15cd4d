"""Metrics reference: generates docs/reference/metrics.md with every series of our services.

It reads the registries of the services; a test fails when the page differs.

    PYTHONPATH=src python scripts/metrics_reference.py
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase

import barnabee.api.health
import barnabee.gpu.health
import barnabee.voice.health
import barnabee.workers.health
from barnabee.api.metrics import CommandMetrics
from barnabee.core import external_checks, system
from barnabee.core.health import HealthCheck, HealthMonitor
from barnabee.core.metrics import Metrics
from barnabee.gpu.metrics import GpuMetrics
from barnabee.voice.metrics import VoiceMetrics
from barnabee.voice.turn_recorder import RecordingMetrics
from barnabee.workers.metrics import SERIES, BackupMetrics, JobMetrics, ProbeMetrics

TARGET = Path(__file__).resolve().parents[1] / "docs/reference/metrics.md"
# Soft dependencies that `api/app.py` adds where they are configured.
OPTIONAL = (*system.load_system().external, "replica")
TASKS = ("stt", "tts", "embed", "wake")
HEAD = """\
# Metrics

Written by `scripts/metrics_reference.py` from the registries of the services; do not edit.

Every service answers `GET /metrics` with the api's token, in Prometheus' text format.
A counter's name ends in `_total` there, a histogram's in `_bucket`, `_sum`, `_count`. Labels that
Prometheus adds: `job` (`barnabee-<service>`), `component`, `host`. Litestream, Redis, nginx, the
machines and the GPU have exporters of their own ([alerts](alerts.md)).

Beside these there are two kinds of series that Prometheus makes by rules out of `system.toml`, so
that they are there when no service is: `barnabee_limit{name="<table>.<key>"}`, every number of the
tables `acceptance`, `alert`, `probe` and `stage`, in the unit of its key; and
`barnabee_expected{job="barnabee-<service>"}`, 1 for every service that must be scraped.
"""


@dataclass(frozen=True)
class Series:
    """One metric family as declared by its service."""

    name: str
    kind: str
    labels: tuple[str, ...]
    text: str

    @property
    def exported(self) -> tuple[str, ...]:
        """Return the series names for queries."""
        if self.kind == "counter":
            return (f"{self.name}_total",)
        if self.kind == "histogram":
            return tuple(f"{self.name}_{end}" for end in ("bucket", "sum", "count"))
        return (self.name,)


class _Task:
    """The part of a task that its check uses."""

    def __init__(self, name: str) -> None:
        self.name = name


class _Tasks:
    def all(self) -> list[_Task]:
        return [_Task(name) for name in TASKS]


async def _nothing() -> None:
    return None


def _api(metrics: Metrics) -> list[HealthCheck]:
    CommandMetrics.register(metrics)
    external_checks.make_gauge(metrics)
    return barnabee.api.health.make_checks(
        database=_nothing,
        redis=cast("Any", _Redis()),
        gpu=_nothing,
        optional=dict.fromkeys(OPTIONAL, _nothing),
    )


def _gpu(_metrics: Metrics) -> list[HealthCheck]:
    return barnabee.gpu.health.make_checks(cast("Any", _Tasks()))


def _voice(metrics: Metrics) -> list[HealthCheck]:
    RecordingMetrics.register(metrics)
    return barnabee.voice.health.make_checks(
        gpu=_nothing, api=_nothing, recordings=_nothing, ready=lambda: True
    )


def _worker(metrics: Metrics) -> list[HealthCheck]:
    jobs = JobMetrics.register(metrics)
    ProbeMetrics.register(metrics)
    backups = BackupMetrics.register(metrics)
    for name in SERIES:  # a series of which nothing is known is absent
        backups.set(name, 0, "c")
    some = cast("Any", _Redis())
    return barnabee.workers.health.make_checks(some, some, jobs, some)


class _Redis:
    """A placeholder for clients that the checks never use here."""

    ping: Callable[[], Awaitable[None]] = staticmethod(_nothing)
    check: Callable[[], Awaitable[None]] = staticmethod(_nothing)


SERVICES: dict[str, tuple[type[Metrics], Callable[[Metrics], list[HealthCheck]]]] = {
    "api": (Metrics, _api),
    "gpu": (GpuMetrics, _gpu),
    "voice": (VoiceMetrics, _voice),
    "worker": (Metrics, _worker),
}


def list_series() -> dict[str, list[Series]]:
    """Return the metric families of each service by name."""
    found = {}
    for service, (kind, fill) in SERVICES.items():
        metrics = kind(service)
        HealthMonitor(service, fill(metrics), metrics)
        metrics.set_health("self", 1)
        found[service] = sorted(_families(metrics.registry), key=lambda one: one.name)
    return found


def _families(registry: CollectorRegistry) -> Iterable[Series]:
    for collector in list(registry._collector_to_names):  # noqa: SLF001 - there is no public list
        labels: tuple[str, ...] = ()
        if isinstance(collector, MetricWrapperBase):
            labels = tuple(collector._labelnames)  # noqa: SLF001
        for family in collector.collect():
            if not isinstance(collector, MetricWrapperBase) and family.samples:
                labels = tuple(family.samples[0].labels)
            yield Series(family.name, family.type, labels, family.documentation)


def render_reference() -> str:
    """Return the text of the page."""
    found = list_series()
    shared = set.intersection(*(set(one) for one in found.values()))
    parts = [HEAD, _table("Every service", [one for one in found["api"] if one in shared])]
    for service, families in found.items():
        parts.append(_table(service, [one for one in families if one not in shared]))
    return "\n".join(parts)


def _table(title: str, families: list[Series]) -> str:
    rows = [
        f"| `{one.name}` | {one.kind} | {', '.join(f'`{name}`' for name in one.labels)} "
        f"| {one.text.replace('|', '/')} |"
        for one in families
    ]
    return "\n".join(
        [f"## {title}\n", "| series | kind | labels | |", "|---|---|---|---|", *rows, ""]
    )


if __name__ == "__main__":
    TARGET.write_text(render_reference(), encoding="utf-8")
