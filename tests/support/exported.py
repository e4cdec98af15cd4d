"""Every series that our services export, with its labels, asked of their own registries."""

from __future__ import annotations

from functools import cache

from prometheus_client import CollectorRegistry

from barnabee.api.metrics import CommandMetrics
from barnabee.core.external import gauge_of
from barnabee.core.metrics import Metrics
from barnabee.gpu.metrics import GpuMetrics
from barnabee.voice.metrics import VoiceMetrics
from barnabee.workers.metrics import JobMetrics, ProbeMetrics

# Of the backup: the worker's, agreed by name and exported where the drills are.
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
    for registry in _registries():
        for name, collector in registry._names_to_collectors.items():
            labels = set(getattr(collector, "_labelnames", ("component",)))
            found[name] = labels | ({"le"} if name.endswith("_bucket") else set())
    return found


def _registries() -> list[CollectorRegistry]:
    api, worker = Metrics("api"), Metrics("worker")
    CommandMetrics.register(api)
    gauge_of(api)
    JobMetrics.register(worker)
    ProbeMetrics.register(worker)
    for dependency in ("database", "redis", "gpu", "worker"):
        api.health(dependency, 1)
    return [one.registry for one in (api, worker, GpuMetrics("gpu"), VoiceMetrics("voice"))]
