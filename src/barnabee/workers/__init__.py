"""Worker service: background jobs from the Redis queue, retention, backups and the voice probe.

python -m barnabee.workers            the service
arq barnabee.workers.WorkerSettings   the same jobs, health and metrics under arq's own program

app              assembly; health and metrics over HTTP; `WorkerSettings`
jobs, retry      the jobs and their loop; retries of transient errors, dead letters
ring_scheduler   timers, alarms and reminders that are due
backups          metrics of backups, and their schedule in a local deployment
voice_probe      periodic deep probe of the voice path
"""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    """Create `WorkerSettings` on access: creating it reads the environment."""
    if name == "WorkerSettings":
        from barnabee.workers.app import make_worker_settings  # noqa: PLC0415 - see above

        return make_worker_settings()
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
