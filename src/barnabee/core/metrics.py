"""Prometheus metrics that every service has, in one registry per application.

Names follow the specification; a service adds its own metrics to `Metrics.registry`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import CounterMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from barnabee.core.logging import count_dropped_lines

# `_created` would be a second series for each counter and histogram.
disable_created_metrics()  # type: ignore[no-untyped-call]
CONTENT_TYPE = CONTENT_TYPE_LATEST
# From a cached reply to a slow language model; 2 s is the specification's HighLatencyP95 limit.
BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)


@dataclass(frozen=True)
class _DroppedLines(Collector):
    """Collector of the number of dropped log lines."""

    component: str

    def collect(self) -> Iterator[CounterMetricFamily]:
        family = CounterMetricFamily(
            "barnabee_log_lines_dropped",
            "Log lines dropped because nothing read the service's standard output.",
            labels=("component",),
        )
        family.add_metric((self.component,), count_dropped_lines())
        yield family

    describe = collect  # so that the registry refuses a second metric of this name


@dataclass(frozen=True)
class Metrics:
    """Registry of a service, with the metrics that all services have."""

    component: str
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    requests: Histogram = field(init=False)
    errors: Counter = field(init=False)
    _health: dict[str, Gauge] = field(default_factory=dict)

    def __post_init__(self) -> None:
        requests = Histogram(
            "barnabee_request_duration_seconds",
            "Duration of requests.",
            ("component", "method", "route", "status"),
            buckets=BUCKETS_S,
            registry=self.registry,
        )
        errors = Counter(
            "barnabee_errors",
            "Failures by error code.",
            ("component", "code"),
            registry=self.registry,
        )
        object.__setattr__(self, "requests", requests)
        object.__setattr__(self, "errors", errors)
        ProcessCollector(registry=self.registry)
        self.registry.register(_DroppedLines(self.component))

    def observe_request(self, method: str, route: str, status: int, seconds: float) -> None:
        self.requests.labels(self.component, method, route, str(status)).observe(seconds)

    def count_error(self, code: str) -> None:
        self.errors.labels(self.component, code).inc()

    def set_health(self, dependency: str, value: float) -> None:
        """Set `barnabee_health_check_<dependency>`: 1 healthy, 0.5 degraded, 0 down, -1 unknown."""
        gauge = self._health.get(dependency)
        if gauge is None:
            gauge = Gauge(
                f"barnabee_health_check_{dependency}",
                "1 healthy, 0.5 degraded, 0 unhealthy, -1 unknown.",
                ("component",),
                registry=self.registry,
            )
            self._health[dependency] = gauge
        gauge.labels(self.component).set(value)

    def render(self) -> bytes:
        """Return the metrics in Prometheus' exposition format."""
        return generate_latest(self.registry)
