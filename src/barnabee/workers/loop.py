"""Job loop: restarts arq's worker after Redis outages, and stops it without losing a job.

arq's worker exits when it loses Redis, even in the middle of a job. A new one then takes over as
soon as Redis answers, and runs the interrupted jobs again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import structlog
from arq.connections import ArqRedis
from arq.constants import default_queue_name, in_progress_key_prefix
from arq.worker import Worker
from redis.exceptions import RedisError

from barnabee.workers.jobs import make_arq_options, make_cron_jobs

RESTART_AFTER_S = 0.5
FINISH_S = 2.5  # for running jobs, when the service stops
CANCEL_AGAIN_S = 0.5
CLAIMS_PER_BATCH = 500

log = structlog.get_logger()


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
