"""Keeps arq's worker going while Redis comes and goes, and ends it without losing a job.

arq ends when it loses Redis, in the middle of a job or not. Here a new worker takes its place as
soon as Redis answers; what the old one had begun is begun again.
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

from barnabee.workers.jobs import cron_jobs, options

AGAIN_AFTER_S = 0.5
# How long a job in hand may take to finish when the service is told to stop.
FINISH_S = 2.5
DELETED_AT_ONCE = 500

log = structlog.get_logger()


class Loop:
    """arq's worker, again and again until told to stop."""

    def __init__(self, make_worker: Callable[[], Worker]) -> None:
        """Use `make_worker` for each new start."""
        self._make_worker = make_worker
        self._stopping = asyncio.Event()
        self._reported = ""

    async def run(self) -> None:
        """Look for jobs until `stop`."""
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
                self._report(await _end((stopping, main, *worker.tasks.values())))
                await _hang_up(worker)
            if not self._stopping.is_set():
                await self._wait(AGAIN_AFTER_S)

    def stop(self) -> None:
        """Take no new job, finish the one in hand, end."""
        self._stopping.set()

    def _report(self, reason: str) -> None:
        if reason and reason != self._reported:  # said once, not twice a second while it lasts
            log.warning("jobs_interrupted", code="dependency_down", reason=reason)
        self._reported = reason

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return


def make_worker(redis_url: str, ctx: dict[Any, Any]) -> Worker:
    """Return one of arq's workers with our jobs; `ctx` is what they are given."""
    redis = ArqRedis.from_url(redis_url, socket_timeout=2, socket_connect_timeout=1)
    chosen = options()
    redis.job_serializer = chosen["job_serializer"]
    redis.job_deserializer = chosen["job_deserializer"]
    return Worker(
        **chosen, redis_pool=redis, ctx=dict(ctx), handle_signals=False, on_startup=take_over
    )


async def take_over(ctx: dict[Any, Any]) -> None:
    """Free the jobs that a killed worker had begun, instead of waiting until their claim ends.

    Should another worker live, a job may be done twice, which changes nothing.
    """
    redis: ArqRedis = ctx["redis"]
    waiting = await redis.zrange(default_queue_name, 0, -1)
    names = [*(job_id.decode() for job_id in waiting), *(job.name for job in cron_jobs())]
    claims = [in_progress_key_prefix + name for name in names]
    for start in range(0, len(claims), DELETED_AT_ONCE):
        await redis.delete(*claims[start : start + DELETED_AT_ONCE])
    log.info("looking_for_jobs", waiting=len(waiting))


async def _end(tasks: Sequence[asyncio.Task[Any]]) -> str:
    """Cancel `tasks` and return what the first that failed by itself has to say."""
    for task in tasks:
        task.cancel()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    return next((f"{type(one).__name__}: {one}" for one in outcomes if _failure(one)), "")


def _failure(outcome: object) -> bool:
    return isinstance(outcome, Exception)  # being cancelled is not one


async def _hang_up(worker: Worker) -> None:
    try:
        await worker.pool.delete(worker.health_check_key)
        await worker.pool.aclose(close_connection_pool=True)
    except (RedisError, OSError) as error:
        log.debug("redis_gone", reason=str(error))
