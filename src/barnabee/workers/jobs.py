"""Jobs of the queue, named after their functions, and arq's options for them."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import Any

import structlog
from arq import cron
from arq.cron import CronJob
from arq.typing import WorkerCoroutine

from barnabee.store import recordings
from barnabee.store.conversations import Conversations, Fact, Facts, TurnRecord, format_timestamp
from barnabee.store.turn_timings import TurnTimings, TurnTimingsStore
from barnabee.workers.retry import ATTEMPT_LIMIT_S, JobContext, unreadable, with_retry

# Written by arq's loop every 2 s with a lifetime of 3 s, so it exists while jobs are processed.
HEARTBEAT = "barnabee:heartbeat:worker"
MAX_TRIES = 2**31

log = structlog.get_logger()


async def record_turn(context: JobContext, payload: dict[str, Any]) -> None:
    """Record a turn; `payload` is `TurnRecord.as_dict()`."""
    turn = TurnRecord.from_dict(payload)
    await Conversations(await context.provider.database()).record(turn)


async def record_spoken(context: JobContext, payload: dict[str, Any]) -> None:
    """Record the latencies of a spoken turn; `payload` is `TurnTimings.as_dict()`."""
    timings = TurnTimings.from_dict(payload)
    await TurnTimingsStore(await context.provider.database()).record(timings)


async def remember_fact(context: JobContext, payload: dict[str, Any]) -> None:
    """Store a fact; `payload` is `Fact.as_dict()`."""
    fact = Fact.from_dict(payload)
    await Facts(await context.provider.database()).remember(fact)


async def ring_due(context: JobContext, _payload: dict[str, Any]) -> None:
    """Let the timers, alarms and reminders ring that are due."""
    await context.ring_due()


async def expire_old(context: JobContext, _payload: dict[str, Any]) -> None:
    """Delete turns and recordings older than `retention` in system.toml; facts do not expire.

    Recordings expire even if recording is disabled now. Where recordings are copied to other
    storage, one that has not been copied yet stays.
    """
    now = context.clock()
    days = context.retention.audio_days
    copied_before = await asyncio.to_thread(context.copied_before)
    expired = await asyncio.to_thread(
        recordings.expire_recordings, context.recordings_dir, now, days, copied_before
    )
    context.metrics.recordings_files.set(expired.remaining_files)
    context.metrics.recordings_bytes.set(expired.remaining_bytes)
    if expired.uncopied_files:
        log.warning("audio_not_copied", code="unavailable", files=expired.uncopied_files)
    if expired.failed_files:
        log.warning("audio_not_deleted", code="unavailable", reason=expired.reason)
    oldest_turn = format_timestamp(now - timedelta(days=context.retention.turns_days))
    database = await context.provider.database()
    turns = await Conversations(database).expire(oldest_turn)
    await TurnTimingsStore(database).expire(oldest_turn)
    log.info(
        "expired",
        turns=turns,
        audio_files=expired.deleted_files,
        audio_files_refused=expired.failed_files,
    )


_JOBS = (record_turn, record_spoken, remember_fact, ring_due, unreadable)

FUNCTIONS: tuple[WorkerCoroutine, ...] = tuple(with_retry(job) for job in _JOBS)
_KNOWN = frozenset(job.__name__ for job in _JOBS)


async def _expire_old(ctx: dict[Any, Any]) -> None:
    await with_retry(expire_old)(ctx, {})


def make_cron_jobs() -> list[CronJob]:
    """Return the periodic jobs; new objects each time, because they hold their next run."""
    return [
        cron(
            _expire_old,
            name="expire_old",
            job_id="expire_old",  # at most one in the queue, however often the worker starts
            minute=17,  # hourly, so that recordings expire within an hour of their limit
            run_at_startup=True,
            max_tries=MAX_TRIES,
        )
    ]


def make_arq_options() -> dict[str, Any]:
    """Return arq's options, which are the same for both entry points."""
    return {
        "functions": FUNCTIONS,
        "cron_jobs": make_cron_jobs(),
        # arq drops jobs beyond these limits; `with_retry` ends each attempt well before.
        "max_tries": MAX_TRIES,
        "job_timeout": ATTEMPT_LIMIT_S * 2,
        "keep_result": 0,
        # Delay of a recorded turn; polling 10 times a second costs under 1 % of a core.
        "poll_delay": 0.1,
        "max_jobs": 10,
        "health_check_key": HEARTBEAT,
        "health_check_interval": 2,
        "job_serializer": dump_job,
        "job_deserializer": load_job,
        "log_results": False,
    }


def dump_job(job: dict[str, Any]) -> bytes:
    """Serialize a job to JSON; an exception in a result becomes a string."""
    return json.dumps(job, default=str).encode()


def load_job(raw: bytes) -> dict[str, Any]:
    """Deserialize a job; an unknown or malformed one, which arq would drop, runs `unreadable`."""
    try:
        job = json.loads(raw)
        if job["f"] in _KNOWN or job["f"] == "expire_old":
            return {key: job[key] for key in ("t", "f", "a", "k", "et")}
    except (ValueError, TypeError, KeyError):
        pass
    text = raw.decode("utf-8", "backslashreplace")
    return {"t": None, "f": "unreadable", "a": [{"text": text}], "k": {}, "et": 0}
