"""What the worker depends on: Redis, the database, its own loop looking for jobs.

And what it knows of the voice path, which is nobody's need here but everybody's news.
"""

from __future__ import annotations

import asyncio
import json
import time

from barnabee.core.errors import DependencyDown
from barnabee.core.health import Check
from barnabee.core.redis_client import RedisLink
from barnabee.store.provider import Keeper
from barnabee.workers.jobs import HEARTBEAT
from barnabee.workers.jobs.retry import SET_ASIDE
from barnabee.workers.metrics import JobMetrics
from barnabee.workers.voice_probe import Prober

# The names are arq's (`arq.constants`).
QUEUE = b"arq:queue"
JOB = b"arq:job:"
# A job that is tried again moves back in the queue, so the oldest is looked for among the first.
LOOKED_AT = 100
BEATS_WAITED_FOR = 10
BEAT_LOOK_S = 0.1


def checks(
    keeper: Keeper, redis: RedisLink, metrics: JobMetrics, prober: Prober | None = None
) -> list[Check]:
    """Return the worker's checks; without the hard ones it cannot do its work."""

    async def queue() -> None:
        await _measure(redis, metrics)
        for _ in range(BEATS_WAITED_FOR):  # the loop may be starting; the next look is 2 s away
            if await redis.command("EXISTS", HEARTBEAT):
                return
            await asyncio.sleep(BEAT_LOOK_S)
        raise DependencyDown(dependency="queue", reason="nobody looks for jobs")

    return [
        Check("redis", redis.ping, hard=True),
        Check("database", keeper.check, hard=True),
        Check("queue", queue, hard=True),
        *([] if prober is None else [Check("voice_path", prober.check, hard=False)]),
    ]


async def _measure(redis: RedisLink, metrics: JobMetrics) -> None:
    depth, first, aside = await redis.transaction(
        ("ZCARD", QUEUE), ("ZRANGE", QUEUE, 0, LOOKED_AT - 1), ("HLEN", SET_ASIDE)
    )
    metrics.depth.set(depth)
    metrics.set_aside.set(aside)
    jobs = await redis.command("MGET", *(JOB + job_id for job_id in first)) if first else []
    metrics.oldest_s.set(oldest_age_s(jobs, time.time()))


def oldest_age_s(jobs: list[bytes | None], now_s: float) -> float:
    """Return how long ago the oldest of `jobs` was enqueued; 0 when there is none. Pure."""
    ages = [0.0]
    for job in jobs:
        try:
            ages.append(now_s - json.loads(job or b"{}")["et"] / 1000)
        except (ValueError, TypeError, KeyError):
            continue
    return max(ages)
