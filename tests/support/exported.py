"""Every series that a dashboard can ask for, with its labels."""

from __future__ import annotations

from functools import cache

from support.alert_rules import load_metrics_reference

# Prometheus' own: of every target, and those that it adds to every series.
BY_PROMETHEUS = {"up": set[str]()}
TARGET_LABELS = {"job", "instance", "component", "host", "__name__"}


@cache
def list_series_labels() -> dict[str, set[str]]:
    """Return the labels of every series by its name, as an exposition has it."""
    found = dict(BY_PROMETHEUS)
    for families in load_metrics_reference().series().values():
        for family in families:
            for name in family.exported:
                buckets = {"le"} if name.endswith("_bucket") else set[str]()
                found[name] = set(family.labels) | buckets
    return found
