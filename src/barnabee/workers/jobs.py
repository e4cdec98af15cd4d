"""Jobs of the queue, and the loop that runs them.

arq's worker exits when it loses Redis, even in the middle of a job. A new one then takes over as
soon as Redis answers, and runs the interrupted jobs again.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import structlog
from arq import cron
from arq.connections import ArqRedis
from arq.constants import default_queue_name, in_progress_key_prefix
from arq.cron import CronJob
from arq.typing import WorkerCoroutine
from arq.worker import Worker
from redis.exceptions import RedisError

from barnabee.store import recordings
from barnabee.store.conversations import Conversations, Fact, Facts, TurnRecord, format_timestamp
from barnabee.store.turn_timings import TurnTimings, TurnTimingsStore
from barnabee.workers.retry import ATTEMPT_LIMIT_S, JobContext, unreadable, with_retry

# Written by arq's loop every 2 s with a lifetime of 3 s, so it exists while jobs are processed.
HEARTBEAT = "barnabee:heartbeat:worker"
MAX_TRIES = 2**31
RESTART_AFTER_S = 0.5
FINISH_S = 2.5  # for running jobs, when the service stops
CANCEL_AGAIN_S = 0.5
CLAIMS_PER_BATCH = 500

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


class WorkerLoop:
    """Runs arq workers, each from `make_worker`, until stopped."""

    def __init__(self, make_worker: Callable[[], Worker]) -> None:
        self._make_worker = make_worker
        self._stopping = asyncio.Event()
        self._reported = ""

    async def run(self) -> None:
        """Process jobs until `stop` is called."""
        while not self._stopping.is_set():
            worker = self._make_worker()
            main = asyncio.create_task(worker.async_run(), name="arq")
            stopping = asyncio.create_task(self._stopping.wait())
            try:
                await asyncio.wait((main, stopping), return_when=asyncio.FIRST_COMPLETED)
                worker.allow_pick_jobs = False
                if self._stopping.is_set() and worker.tasks:
                    await asyncio.wait(worker.tasks.values(), timeout=FINISH_S)
            finally:
                self._report(await _cancel_tasks((stopping, main, *worker.tasks.values())))
                await _close_worker(worker)
            if not self._stopping.is_set():
                await self._wait(RESTART_AFTER_S)

    def stop(self) -> None:
        """Accept no new jobs, finish the running ones, and return from `run`."""
        self._stopping.set()

    def _report(self, reason: str) -> None:
        if reason and reason != self._reported:  # once per outage, not twice a second
            log.warning("jobs_interrupted", code="dependency_down", reason=reason)
        self._reported = reason

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return


def make_worker(redis_url: str, ctx: dict[Any, Any]) -> Worker:
    """Return an arq worker with the service's jobs; `ctx` is passed to them."""
    redis = ArqRedis.from_url(redis_url, socket_timeout=2, socket_connect_timeout=1)
    options = make_arq_options()
    redis.job_serializer = options["job_serializer"]
    redis.job_deserializer = options["job_deserializer"]
    return Worker(
        **options, redis_pool=redis, ctx=dict(ctx), handle_signals=False, on_startup=release_claims
    )


async def release_claims(ctx: dict[Any, Any]) -> None:
    """Delete the claims of a killed worker, so that its jobs need not wait for their expiry.

    If another worker still runs, a job may run twice, which is safe.
    """
    redis: ArqRedis = ctx["redis"]
    waiting = await redis.zrange(default_queue_name, 0, -1)
    names = [*(job_id.decode() for job_id in waiting), *(job.name for job in make_cron_jobs())]
    claims = [in_progress_key_prefix + name for name in names]
    for start in range(0, len(claims), CLAIMS_PER_BATCH):
        await redis.delete(*claims[start : start + CLAIMS_PER_BATCH])
    log.info("processing_jobs", waiting=len(waiting))


async def _cancel_tasks(tasks: Sequence[asyncio.Task[Any]]) -> str:
    """Cancel `tasks` and return the error of the first that had failed, or "".

    A task may lose a cancellation, for example one that arrives together with a timeout.
    """
    while pending := [task for task in tasks if not task.done()]:
        for task in pending:
            task.cancel()
        await asyncio.wait(pending, timeout=CANCEL_AGAIN_S)
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    errors = (outcome for outcome in outcomes if isinstance(outcome, Exception))
    return next((f"{type(error).__name__}: {error}" for error in errors), "")


async def _close_worker(worker: Worker) -> None:
    try:
        await worker.pool.delete(worker.health_check_key)
        await worker.pool.aclose(close_connection_pool=True)
    except (RedisError, OSError) as error:
        log.debug("redis_unreachable", reason=str(error))
