"""Every series that a dashboard can ask for, with its labels."""

from __future__ import annotations

from functools import cache

from support.alert_rules import metrics_reference

# Of the backup: agreed by name, and left out here once the worker itself exports them.
AGREED = {
    "barnabee_backup_lag_transactions": set[str](),
    "barnabee_backup_lag_seconds": set[str](),
    "barnabee_backup_last_snapshot_timestamp_seconds": set[str](),
    "barnabee_backup_last_verified_restore_timestamp_seconds": set[str](),
    "barnabee_backup_restore_seconds": set[str](),
    "barnabee_backup_drill_success": set[str](),
    "barnabee_backup_drill_last_run_timestamp_seconds": set[str](),
    "barnabee_backup_store_calls_today": {"class"},
}
# Prometheus' own: of every target, and those that it adds to every series.
BY_PROMETHEUS = {"up": set[str]()}
TARGET_LABELS = {"job", "instance", "component", "host", "__name__"}


@cache
def series() -> dict[str, set[str]]:
    """Return the labels of every series by its name, as an exposition has it."""
    found = dict(BY_PROMETHEUS | AGREED)
    for families in metrics_reference().series().values():
        for family in families:
            for name in family.exported:
                buckets = {"le"} if name.endswith("_bucket") else set[str]()
                found[name] = set(family.labels) | buckets
    return found
