"""What the worker counts beside what every service counts."""

from __future__ import annotations

from dataclasses import dataclass

from prometheus_client import Counter, Gauge, Histogram

from barnabee.core.metrics import Metrics

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
        )
