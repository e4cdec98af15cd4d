"""When somebody is told: the table `[alert]`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from barnabee.core.schema.types import Count, Mib, Milliseconds, Seconds, Table

Hour = Annotated[int, Field(ge=0, le=23)]
Percent = Annotated[int, Field(ge=1, le=100)]


class Alert(Table):
    """When somebody is told: quiet hours, how often again, and what rules compare with."""

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
    turns_failed_per_hour: Count
    false_wakes_per_day: Count
    probes_missed: Count
