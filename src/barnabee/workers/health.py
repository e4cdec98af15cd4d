"""Health checks of the worker: Redis, the database, the job loop, and the voice probe's result."""

from __future__ import annotations

import asyncio
import json
import time

from barnabee.clients.queue import JOB_KEY_PREFIX, QUEUE_KEY
from barnabee.core.errors import DependencyDown
from barnabee.core.health import HealthCheck
from barnabee.core.redis_client import RedisClient
from barnabee.store.provider import DatabaseProvider
from barnabee.workers.jobs import HEARTBEAT
from barnabee.workers.metrics import JobMetrics
from barnabee.workers.retry import DEAD_LETTERS
from barnabee.workers.voice_probe import VoiceProber

OLDEST_CANDIDATES = 100  # a retried job moves back in the queue, so the first may not be the oldest
RETRIES_WITHIN_S = 10  # a job that is due later is a timer, and waits for nothing
HEARTBEAT_ATTEMPTS = 10
HEARTBEAT_POLL_S = 0.1


def make_checks(
    provider: DatabaseProvider,
    redis: RedisClient,
    metrics: JobMetrics,
    prober: VoiceProber | None = None,
) -> list[HealthCheck]:
    """Return the worker's checks; a failed hard one makes it unhealthy."""

    async def queue() -> None:
        await _measure(redis, metrics)
        for _ in range(HEARTBEAT_ATTEMPTS):  # the loop may be starting; the next check is 2 s away
            if await redis.exists(HEARTBEAT):
                return
            await asyncio.sleep(HEARTBEAT_POLL_S)
        raise DependencyDown(dependency="queue", reason="no jobs are being processed")

    return [
        HealthCheck("redis", redis.ping, hard=True),
        HealthCheck("database", provider.check, hard=True),
        HealthCheck("queue", queue, hard=True),
        *([] if prober is None else [HealthCheck("voice_path", prober.check, hard=False)]),
    ]


async def _measure(redis: RedisClient, metrics: JobMetrics) -> None:
    now_s = time.time()
    until_ms = round((now_s + RETRIES_WITHIN_S) * 1000)
    pipeline = redis.pipeline()
    pipeline.zcount(QUEUE_KEY, "-inf", until_ms)
    pipeline.zrangebyscore(QUEUE_KEY, "-inf", until_ms, 0, OLDEST_CANDIDATES)
    pipeline.hlen(DEAD_LETTERS)
    depth, first, dead_lettered = await pipeline.execute()
    metrics.depth.set(depth)
    metrics.dead_lettered.set(dead_lettered)
    jobs = await redis.mget([JOB_KEY_PREFIX.encode() + job_id for job_id in first]) if first else []
    metrics.oldest_s.set(oldest_job_age_s(jobs, now_s))


def oldest_job_age_s(jobs: list[bytes | None], now_s: float) -> float:
    """Return the age of the oldest of `jobs`; 0 when there is none. Pure."""
    ages = [0.0]
    for job in jobs:
        try:
            ages.append(now_s - json.loads(job or b"{}")["et"] / 1000)
        except (ValueError, TypeError, KeyError):
            continue
    return max(ages)
