"""Metrics of backups."""

from __future__ import annotations

from prometheus_client import generate_latest

from barnabee.backup.drill import DrillResult
from barnabee.core.metrics import Metrics
from barnabee.workers.metrics import BackupMetrics


def read_series(metrics: Metrics) -> dict[str, float]:
    lines = generate_latest(metrics.registry).decode().splitlines()
    series = (line.rsplit(" ", 1) for line in lines if line.startswith("barnabee_backup_"))
    return {name: float(value) for name, value in series}


def test_unknown_values_are_absent_and_a_failure_is_zero() -> None:
    metrics = Metrics("worker")
    backups = BackupMetrics.register(metrics)
    assert read_series(metrics) == {}

    failed = DrillResult("2026-01-31T03:40:00.000Z", 5000, 900, success=False, restore_ms=1500)
    good = DrillResult("2026-01-30T03:40:00.000Z", 5000, 900, success=True)
    backups.record(failed, good)
    backups.set("lag_transactions", 0)

    assert read_series(metrics) == {
        "barnabee_backup_drill_success": 0,
        "barnabee_backup_drill_last_run_timestamp_seconds": 1769830800,
        "barnabee_backup_last_verified_restore_timestamp_seconds": 1769744400,
        "barnabee_backup_restore_seconds": 1.5,
        "barnabee_backup_restore_bytes": 0,
        "barnabee_backup_lag_transactions": 0,
    }


def test_before_the_first_drill_its_series_are_absent() -> None:
    metrics = Metrics("worker")
    BackupMetrics.register(metrics).record(None, None)
    assert read_series(metrics) == {}
