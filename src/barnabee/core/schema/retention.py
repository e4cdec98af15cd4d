"""Tables for backup, retention, standby, alerts, acceptance limits and deployments."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from barnabee.core.schema.services import (
    Clock,
    Count,
    Hour,
    Mib,
    Milliseconds,
    Percent,
    Seconds,
    Text,
    TomlTable,
)


class ReplicaConfig(TomlTable):
    """S3-compatible destination of the database replica."""

    endpoint: Annotated[str, Field(pattern="^https?://")]
    region: Text
    bucket: Text
    path: Text
    sync_interval_ms: Milliseconds
    snapshot_interval_h: Count
    validation_interval_h: Count
    compact_every_s: Annotated[list[Seconds], Field(min_length=1, max_length=8)]
    transactions_kept_s: Seconds
    transactions_check_s: Seconds


class BackupConfig(TomlTable):
    """Daily snapshot, nightly restore drill, and off-site copies."""

    snapshot_at: Clock
    drill_at: Clock
    stale_after_h: Count
    offsite: str
    audio_to: str
    audio_every_s: Seconds


class RetentionConfig(TomlTable):
    """Retention time of each kind of data."""

    turns_days: Count
    audio_days: Count
    replica_hours: Count
    snapshots_days: Count
    metrics_days: Count
    logs_days: Count


class StandbyConfig(TomlTable):
    """Write lease between the primary and the standby machine (docs/reference/standby.md)."""

    lease_s: Seconds  # how long the holder may write after its last renewal
    renew_s: Seconds  # interval of renewals, and of the standby's reads
    request_limit_ms: Milliseconds  # of one request to the lease store
    stop_s: Seconds  # writing stops this long before the lease expires
    clock_drift_permille: Annotated[int, Field(ge=0, le=200)]  # maximum rate error of a clock
    follow_s: Seconds  # interval at which the standby fetches new transactions
    takeover_s: Seconds  # how long a promotion may wait for the lease


class AcceptanceConfig(TomlTable):
    """Limits that `barnabee accept` measures."""

    cold_start_s: Seconds
    healthy_s: Seconds
    replica_lag_txids: Annotated[int, Field(ge=0)]
    replica_sync_s: Seconds  # until a new row is in the replica
    log_query_s: Seconds  # until a query returns a line that was just written
    alert_s: Seconds  # until Home Assistant has received a test alert
    detect_failure_s: Seconds
    recover_s: Seconds


class DeployConfig(TomlTable):
    """Time limits of a deployment, and how it is supervised."""

    switch_s: Seconds
    settle_s: Seconds
    confirm_s: Seconds
    data_s: Seconds
    watch_every_s: Seconds
    boot_tries: Count
    records_kept: Count


class AlertConfig(TomlTable):
    """Quiet hours, repeat interval and thresholds of the alerts."""

    quiet_from_h: Hour
    quiet_until_h: Hour
    mail_repeat_h: Count
    heartbeat_min: Count
    requests_min: Count
    latency_p95_ms: Milliseconds
    gpu_memory_percent: Percent
    replica_lag_s: Seconds
    drill_age_h: Count
    snapshot_age_h: Count
    disk_free_percent: Percent
    disk_full_h: Count
    disk_watch_percent: Percent
    certificate_days: Count
    refusals_per_hour: Count
    evictions_per_hour: Count
    vram_left_mib: Mib
    queue_age_s: Seconds
    ring_unheard_s: Seconds
    turns_failed_per_hour: Count
    false_wakes_per_day: Count
    probes_missed: Count
