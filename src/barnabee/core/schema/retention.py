"""What is kept, where, for how long, and what is promised."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from barnabee.core.schema.types import Clock, Count, Milliseconds, Seconds, Table, Text


class Replica(Table):
    """The S3-compatible place the database is streamed to."""

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


class Backup(Table):
    """The daily snapshot, the nightly drill, and where copies go beside the replica."""

    snapshot_at: Clock
    drill_at: Clock
    cpu_percent: Annotated[int, Field(ge=1, le=100)]
    stale_after_h: Count
    recovery_recipient: Annotated[str, Field(pattern="^(age1[0-9a-z]+)?$")]
    offsite: str
    audio_to: str
    audio_every_s: Seconds
    listings_per_day: Count
    downloads_per_day: Count


class Retention(Table):
    """How long each kind of data is kept."""

    turns_days: Count
    audio_days: Count
    replica_hours: Count
    snapshots_days: Count
    metrics_days: Count
    logs_days: Count


class Standby(Table):
    """How it is settled which of two machines may write (docs/reference/standby.md)."""

    lease_s: Seconds  # how long whoever holds the lease may write without having renewed it
    renew_s: Seconds  # how often it is renewed, and how often the other looks
    request_limit_ms: Milliseconds  # one request to the store
    stop_s: Seconds  # writing stops this long before the lease ends
    clock_drift_permille: Annotated[int, Field(ge=0, le=200)]  # how wrong a clock's pace may be
    follow_s: Seconds  # how often the stand-by fetches what is new
    takeover_s: Seconds  # how long a promotion may wait for the lease


class Acceptance(Table):
    """The promises that `barnabee accept` measures."""

    cold_start_s: Seconds
    healthy_s: Seconds
    replica_lag_txids: Annotated[int, Field(ge=0)]
    replica_sync_s: Seconds  # how long a row may take into the replica
    log_query_s: Seconds  # until a query returns a line that was just written
    alert_s: Seconds  # until Home Assistant has a test alert
    detect_failure_s: Seconds
    recover_s: Seconds


class Deploy(Table):
    """How long each part of a switch to another system may take, and how it is looked after."""

    switch_s: Seconds
    settle_s: Seconds
    confirm_s: Seconds
    data_s: Seconds
    watch_every_s: Seconds
    boot_tries: Count
    records_kept: Count
