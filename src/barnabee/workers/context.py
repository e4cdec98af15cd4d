"""What every job is given: the database, Redis, the clock, what to count."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from barnabee.core.redis_client import RedisLink
from barnabee.core.schema import Retention
from barnabee.store.provider import Keeper
from barnabee.workers.metrics import JobMetrics

# The name under which arq's context holds ours.
KEY = "barnabee"


@dataclass(frozen=True)
class Context:
    """The world of a job."""

    keeper: Keeper
    redis: RedisLink
    metrics: JobMetrics
    retention: Retention
    recordings_dir: Path
    clock: Callable[[], datetime]
    # Before which moment a recording must be written to be deleted; None: no matter when.
    copied_before: Callable[[], datetime | None] = lambda: None
