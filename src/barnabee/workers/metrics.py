"""What the worker counts beside what every service counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from prometheus_client import Counter, Gauge, Histogram

from barnabee.core.metrics import Metrics

if TYPE_CHECKING:
    from barnabee.clients.probe import Result

BUCKETS_S = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0)


@dataclass(frozen=True)
class JobMetrics:
    """Series about jobs and the queue they wait in."""

    done: Counter
    failed: Counter
    seconds: Histogram
    depth: Gauge
    oldest_s: Gauge
    set_aside: Gauge
    recordings_files: Gauge
    recordings_bytes: Gauge

    @classmethod
    def register(cls, metrics: Metrics) -> JobMetrics:
        """Create the series in `metrics`."""
        registry = metrics.registry
        return cls(
            Counter("barnabee_jobs_done", "Jobs done.", ("name",), registry=registry),
            Counter(
                "barnabee_jobs_failed",
                "Attempts that failed, by error code; the job itself is kept.",
                ("name", "code"),
                registry=registry,
            ),
            Histogram(
                "barnabee_job_duration_seconds",
                "Time one attempt took.",
                ("name",),
                buckets=BUCKETS_S,
                registry=registry,
            ),
            Gauge("barnabee_queue_depth", "Jobs waiting or running.", registry=registry),
            Gauge(
                "barnabee_queue_oldest_job_age_seconds",
                "Age of the oldest job not done.",
                registry=registry,
            ),
            Gauge(
                "barnabee_jobs_set_aside",
                "Jobs that cannot be done as they are, kept for a person to look at.",
                registry=registry,
            ),
            Gauge(
                "barnabee_recordings_files",
                "Recordings of what was said, as of the last time the old ones were deleted.",
                registry=registry,
            ),
            Gauge(
                "barnabee_recordings_bytes",
                "What these recordings take.",
                registry=registry,
            ),
        )


@dataclass(frozen=True)
class ProbeMetrics:
    """Series about the voice path."""

    success: Gauge
    timestamp_s: Gauge
    seconds: Gauge
    over_budget: Gauge
    failures: Counter

    @classmethod
    def register(cls, metrics: Metrics) -> ProbeMetrics:
        """Create the series in `metrics`."""
        registry = metrics.registry
        return cls(
            Gauge(
                "barnabee_probe_success",
                "1 when a spoken question was last answered rightly, aloud.",
                registry=registry,
            ),
            Gauge(
                "barnabee_probe_timestamp_seconds",
                "When the voice path was last tried; 0 = never.",
                registry=registry,
            ),
            Gauge(
                "barnabee_probe_seconds",
                "Time a stage of the last probe took; none when it did not get there.",
                ("stage",),
                registry=registry,
            ),
            Gauge(
                "barnabee_probe_over_budget",
                "1 when a stage of the last probe took longer than [stage] in system.toml allows.",
                ("stage",),
                registry=registry,
            ),
            Counter(
                "barnabee_probe_failures",
                "Probes that failed, by where and why.",
                ("stage", "code"),
                registry=registry,
            ),
        )

    def record(self, result: Result, at_s: float) -> None:
        """Show `result`; what an earlier probe measured and this one did not is taken away."""
        self.success.set(result.success)
        self.timestamp_s.set(at_s)
        self.seconds.clear()
        self.over_budget.clear()
        for stage, took_ms in result.stages_ms.items():
            self.seconds.labels(stage).set(took_ms / 1000)
            self.over_budget.labels(stage).set(stage in result.over_budget)
        if result.code is not None:
            self.failures.labels(result.stage, result.code).inc()
