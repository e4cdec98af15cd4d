"""Series about the copies of the database and the proof that they can be restored.

A series of which nothing is known yet is absent: 0 would say that all is well, or that nothing is.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from barnabee.core.metrics import Metrics

if TYPE_CHECKING:
    from barnabee.backup.drill_log import Drill

CALLS = "store_calls_today"
SERIES = {
    "lag_transactions": "Transactions that are not in the replica; NaN when nobody can say.",
    "lag_seconds": "How long the replica has been behind, or litestream silent.",
    "last_snapshot_timestamp_seconds": "Of what moment the newest snapshot is.",
    "last_verified_restore_timestamp_seconds": (
        "When replica and snapshot were last restored and found equal."
    ),
    "restore_seconds": "Time the last drill took to restore the replica.",
    "restore_bytes": "Size of the database that the last drill restored.",
    "drill_success": "1 when the last drill found everything sound and equal.",
    "drill_last_run_timestamp_seconds": "When the last drill began.",
    CALLS: "Calls of the object store since midnight (UTC), by Backblaze's class.",
    "audio_copied_timestamp_seconds": "Recordings older than this are in the storage.",
    "audio_failures": "Attempts in a row to copy recordings that failed.",
}


class BackupMetrics(Collector):
    """The values that are known."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self._values: dict[str, dict[str, float]] = {}

    @classmethod
    def register(cls, metrics: Metrics) -> BackupMetrics:
        """Show them among the metrics of the service."""
        made = cls()
        metrics.registry.register(made)
        return made

    def set(self, name: str, value: float, kind: str = "") -> None:
        """Take note of a value; KeyError for a series that does not exist."""
        _ = SERIES[name]
        self._values.setdefault(name, {})[kind] = value

    def record(self, last: Drill | None, good: Drill | None) -> None:
        """Take note of the last drill, and of the last that went well."""
        if last is not None:
            self.set("drill_success", last.success)
            self.set("drill_last_run_timestamp_seconds", _seconds(last.started_at))
            self.set("restore_seconds", last.restore_ms / 1000)
            self.set("restore_bytes", last.bytes)
        if good is not None:
            self.set("last_verified_restore_timestamp_seconds", _seconds(good.started_at))

    def describe(self) -> Iterable[Metric]:
        """Describe nothing in advance, so that registering asks for no values."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Return what is known."""
        for name, values in self._values.items():
            labels = ("class",) if name == CALLS else ()
            family = GaugeMetricFamily(f"barnabee_backup_{name}", SERIES[name], labels=labels)
            for kind, value in values.items():
                family.add_metric((kind,) if labels else (), value)
            yield family


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()
