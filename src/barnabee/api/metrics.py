"""Metrics of commands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from prometheus_client import Counter, Gauge, Histogram

from barnabee.core.metrics import Metrics

# A local reply takes 1 ms, Home Assistant 50 ms, a language model seconds.
BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 1.5, 2.5, 5.0, 10.0)


@dataclass(frozen=True)
class CommandMetrics:
    """Metrics of commands; label children are cached because a lookup costs more than counting."""

    stages: Histogram
    intents: Counter
    degraded: Counter
    unwritten: Gauge
    _stage: dict[str, Histogram] = field(default_factory=dict)
    _intent: dict[tuple[str, str], Counter] = field(default_factory=dict)

    @classmethod
    def register(cls, metrics: Metrics) -> CommandMetrics:
        """Create the series in the service's registry."""
        registry = metrics.registry
        return cls(
            Histogram(
                "barnabee_stage_duration_seconds",
                "Duration of a stage of a command.",
                ("stage",),
                buckets=BUCKETS_S,
                registry=registry,
            ),
            Counter(
                "barnabee_intents", "Recognized intents.", ("intent", "band"), registry=registry
            ),
            Counter(
                "barnabee_commands_degraded",
                "Commands completed without a dependency.",
                ("dependency",),
                registry=registry,
            ),
            Gauge(
                "barnabee_turns_unwritten",
                "Turns held in memory because neither Redis nor the database accepts them.",
                registry=registry,
            ),
        )

    def count_command(
        self, intent: str, band: str, degraded: Sequence[str], latency_ms: Mapping[str, float]
    ) -> None:
        """Count one completed command."""
        for stage, spent_ms in latency_ms.items():
            series = self._stage.get(stage)
            if series is None:
                series = self._stage[stage] = self.stages.labels(stage)
            series.observe(spent_ms / 1000)
        counter = self._intent.get((intent, band))
        if counter is None:
            counter = self._intent[intent, band] = self.intents.labels(intent, band)
        counter.inc()
        for dependency in degraded:
            self.degraded.labels(dependency).inc()
