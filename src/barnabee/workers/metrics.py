"""Metrics of the worker: jobs, voice probe and backups."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from prometheus_client import Counter, Gauge, Histogram, Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from barnabee.core.metrics import Metrics

if TYPE_CHECKING:
    from barnabee.backup.drill import DrillResult
    from barnabee.clients.probe import ProbeResult

LATE_BUCKETS_S = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 30.0, 60.0, 600.0, 3600.0)
BUCKETS_S = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0)


@dataclass(frozen=True)
class JobMetrics:
    """Metrics of jobs and their queue."""

    done: Counter
    failed: Counter
    seconds: Histogram
    depth: Gauge
    oldest_s: Gauge
    dead_lettered: Gauge
    recordings_files: Gauge
    recordings_bytes: Gauge

    @classmethod
    def register(cls, metrics: Metrics) -> JobMetrics:
        registry = metrics.registry
        return cls(
            Counter("barnabee_jobs_done", "Jobs completed.", ("name",), registry=registry),
            Counter(
                "barnabee_jobs_failed",
                "Failed attempts of jobs, by error code; the jobs are not lost.",
                ("name", "code"),
                registry=registry,
            ),
            Histogram(
                "barnabee_job_duration_seconds",
                "Duration of one attempt.",
                ("name",),
                buckets=BUCKETS_S,
                registry=registry,
            ),
            Gauge("barnabee_queue_depth", "Jobs that are queued or running.", registry=registry),
            Gauge(
                "barnabee_queue_oldest_job_age_seconds",
                "Age of the oldest job that is queued or running.",
                registry=registry,
            ),
            Gauge(
                "barnabee_jobs_set_aside",
                "Jobs in the dead-letter list: they failed permanently.",
                registry=registry,
            ),
            Gauge(
                "barnabee_recordings_files",
                "Stored recordings of utterances.",
                registry=registry,
            ),
            Gauge(
                "barnabee_recordings_bytes",
                "Total size of the stored recordings in bytes.",
                registry=registry,
            ),
        )


@dataclass(frozen=True)
class ScheduleMetrics:
    """Metrics of timers, alarms and reminders."""

    due: Counter
    rung: Counter
    missed: Counter
    notified: Counter
    late_s: Histogram
    unheard_s: Gauge

    @classmethod
    def register(cls, metrics: Metrics) -> ScheduleMetrics:
        registry = metrics.registry
        return cls(
            Counter(
                "barnabee_schedule_due",
                "Timers, alarms and reminders that became due.",
                ("kind",),
                registry=registry,
            ),
            Counter("barnabee_schedule_rung", "Those that rang.", ("kind",), registry=registry),
            Counter(
                "barnabee_schedule_missed",
                "Those that were not stopped, or that were due too long ago to ring.",
                ("kind",),
                registry=registry,
            ),
            Counter(
                "barnabee_schedule_notified",
                "Those that Home Assistant showed because no room was connected.",
                ("kind",),
                registry=registry,
            ),
            Histogram(
                "barnabee_schedule_late_seconds",
                "Time from when an entry was due until a room rang.",
                buckets=LATE_BUCKETS_S,
                registry=registry,
            ),
            Gauge(
                "barnabee_schedule_unheard_seconds",
                "Time for which the oldest due entry has neither rung nor been notified.",
                registry=registry,
            ),
        )


@dataclass(frozen=True)
class ProbeMetrics:
    """Metrics of the voice probe."""

    success: Gauge
    timestamp_s: Gauge
    seconds: Gauge
    over_budget: Gauge
    failures: Counter

    @classmethod
    def register(cls, metrics: Metrics) -> ProbeMetrics:
        registry = metrics.registry
        return cls(
            Gauge(
                "barnabee_probe_success",
                "1 when the last probe's spoken question was answered correctly, aloud.",
                registry=registry,
            ),
            Gauge(
                "barnabee_probe_timestamp_seconds",
                "Time of the last probe; 0 = never.",
                registry=registry,
            ),
            Gauge(
                "barnabee_probe_seconds",
                "Duration of a stage of the last probe; absent if it was not reached.",
                ("stage",),
                registry=registry,
            ),
            Gauge(
                "barnabee_probe_over_budget",
                "1 when a stage of the last probe exceeded its budget in [stage] of system.toml.",
                ("stage",),
                registry=registry,
            ),
            Counter(
                "barnabee_probe_failures",
                "Failed probes, by stage and error code.",
                ("stage", "code"),
                registry=registry,
            ),
        )

    def record(self, result: ProbeResult, at_s: float) -> None:
        """Export `result`, and drop the series of stages that it did not reach."""
        self.success.set(result.success)
        self.timestamp_s.set(at_s)
        self.seconds.clear()
        self.over_budget.clear()
        for stage, took_ms in result.stages_ms.items():
            self.seconds.labels(stage).set(took_ms / 1000)
            self.over_budget.labels(stage).set(stage in result.over_budget)
        if result.code is not None:
            self.failures.labels(result.stage, result.code).inc()


SERIES = {
    "lag_transactions": "Transactions not yet in the replica; NaN while litestream is unreachable.",
    "lag_seconds": "Time since the replica fell behind or litestream stopped answering.",
    "last_snapshot_timestamp_seconds": "Time of the newest snapshot.",
    "last_verified_restore_timestamp_seconds": (
        "Start of the last drill that restored replica and snapshot and found them equal."
    ),
    "restore_seconds": "Duration of the replica's restore in the last drill.",
    "restore_bytes": "Size of the database that the last drill restored.",
    "drill_success": "1 when the last drill succeeded.",
    "drill_last_run_timestamp_seconds": "Start of the last drill.",
    "audio_copied_timestamp_seconds": "Recordings older than this have been copied.",
    "audio_failures": "Consecutive failures to copy recordings.",
}


class BackupMetrics(Collector):
    """Metrics of backups and restore drills.

    A series without a known value is absent: 0 would claim success or failure.
    """

    def __init__(self) -> None:
        self._values: dict[str, float] = {}

    @classmethod
    def register(cls, metrics: Metrics) -> BackupMetrics:
        collector = cls()
        metrics.registry.register(collector)
        return collector

    def set(self, name: str, value: float) -> None:
        """Set the value of a series; KeyError for unknown names."""
        _ = SERIES[name]
        self._values[name] = value

    def record(self, last: DrillResult | None, good: DrillResult | None) -> None:
        """Set the series of the last drill and of the last successful one."""
        if last is not None:
            self.set("drill_success", last.success)
            self.set("drill_last_run_timestamp_seconds", _seconds(last.started_at))
            self.set("restore_seconds", last.restore_ms / 1000)
            self.set("restore_bytes", last.bytes)
        if good is not None:
            self.set("last_verified_restore_timestamp_seconds", _seconds(good.started_at))

    def describe(self) -> Iterable[Metric]:
        """Return nothing, so that registering does not collect values."""
        return ()

    def collect(self) -> Iterable[Metric]:
        for name, value in self._values.items():
            yield GaugeMetricFamily(f"barnabee_backup_{name}", SERIES[name], value=value)


def _seconds(time: str) -> float:
    return datetime.fromisoformat(time).timestamp()
