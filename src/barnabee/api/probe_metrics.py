"""The few figures that a page takes from another service's metrics: the last probe. Pure.

The worker tries the voice path and exports what came of it; nothing of that is in the database.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families


@dataclass(frozen=True, slots=True)
class Probed:
    """What came of the last spoken question; `at_s` in seconds since the epoch."""

    at_s: float
    success: bool
    stages_ms: dict[str, float] = field(default_factory=dict)
    over_budget: list[str] = field(default_factory=list)


def probed(exposition: str) -> Probed | None:
    """Return the last probe in a worker's metrics; None before the first."""
    at_s, success = 0.0, False
    stages_ms: dict[str, float] = {}
    over: list[str] = []
    for family in text_string_to_metric_families(exposition):
        if not family.name.startswith("barnabee_probe_"):
            continue
        for sample in family.samples:
            stage = sample.labels.get("stage", "")
            if sample.name == "barnabee_probe_timestamp_seconds":
                at_s = sample.value
            elif sample.name == "barnabee_probe_success":
                success = sample.value > 0
            elif sample.name == "barnabee_probe_seconds":
                stages_ms[stage] = round(sample.value * 1000, 1)
            elif sample.name == "barnabee_probe_over_budget" and sample.value > 0:
                over.append(stage)
    return Probed(at_s, success, stages_ms, sorted(over)) if at_s else None
