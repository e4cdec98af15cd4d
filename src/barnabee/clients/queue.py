"""Producer of arq jobs in Redis.

arq's own `enqueue_job` takes four round trips and 450 us of CPU, and its jobs expire after a day.
This writes the same two keys in one transaction (one round trip, 45 us), without expiry. Names and
layout are arq's (tested against it); JSON instead of pickle, so that write access to Redis is not
code execution.
"""

from __future__ import annotations

import json
import time
from typing import Any

from barnabee.core.redis_client import CommandPart, RedisClient

# Copied from `arq.constants` (0.28), because importing arq costs 5 MiB.
QUEUE_KEY = "arq:queue"
JOB_KEY_PREFIX = "arq:job:"


class JobQueue:
    """Producer for the worker's arq queue."""

    def __init__(self, redis: str | RedisClient) -> None:
        self._link = redis if isinstance(redis, RedisClient) else RedisClient(redis)

    async def enqueue(self, job: str, payload: dict[str, Any], *, job_id: str) -> None:
        """Store the job in Redis; raises DependencyDown(dependency="redis").

        A queued or running job with the same id is not replaced.
        """
        await self._link.transaction(*make_enqueue_commands(job, payload, job_id=job_id))

    async def depth(self) -> int:
        """Return the number of queued and running jobs."""
        return int(await self._link.command("ZCARD", QUEUE_KEY))

    async def ping(self) -> None:
        """Raise DependencyDown unless Redis answers."""
        await self._link.ping()

    async def aclose(self) -> None:
        await self._link.aclose()


def make_enqueue_commands(
    job: str, payload: dict[str, Any], *, job_id: str
) -> tuple[tuple[CommandPart, ...], ...]:
    """Return the Redis commands that enqueue a job, for a larger transaction."""
    now_ms = int(time.time() * 1000)
    return (
        ("SET", JOB_KEY_PREFIX + job_id, encode_job(job, payload, now_ms), "NX"),
        ("ZADD", QUEUE_KEY, "NX", now_ms, job_id),
    )


def encode_job(job: str, payload: dict[str, Any], now_ms: int) -> bytes:
    """Encode a job as arq stores it: try, function, arguments, keywords, enqueue time."""
    return json.dumps({"t": None, "f": job, "a": [payload], "k": {}, "et": now_ms}).encode()
