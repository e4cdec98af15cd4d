"""Hands work to the worker through Redis, in the form that arq reads.

arq's own `enqueue_job` takes four round trips and 450 us of CPU, and lets a job expire after a
day. This writes the same two keys in one transaction of one round trip (45 us), and a job stays
until it is done. Names and layout are arq's (tested against it); JSON instead of pickle, so that
whoever can write to Redis still cannot run code here.
"""

from __future__ import annotations

import json
import time
from typing import Any

from barnabee.core.redis_client import Part, RedisLink

# The constants of arq 0.28 (`arq.constants`), written again because importing arq costs 5 MiB.
QUEUE = "arq:queue"
JOB = "arq:job:"


class Queue:
    """The way to the worker."""

    def __init__(self, redis: str | RedisLink) -> None:
        """Use the Redis at an URL, or a link that is there already."""
        self._link = redis if isinstance(redis, RedisLink) else RedisLink(redis)

    async def enqueue(self, job: str, payload: dict[str, Any], *, job_id: str) -> None:
        """Return when the job is safe in Redis; DependencyDown(dependency="redis") otherwise.

        A job with the same id that is still waiting or running stays as it is.
        """
        await self._link.transaction(*commands(job, payload, job_id=job_id))

    async def depth(self) -> int:
        """Return how many jobs wait or run."""
        return int(await self._link.command("ZCARD", QUEUE))

    async def ping(self) -> None:
        """Return when Redis answers; DependencyDown otherwise."""
        await self._link.ping()

    async def aclose(self) -> None:
        """Hang up."""
        await self._link.aclose()


def commands(job: str, payload: dict[str, Any], *, job_id: str) -> tuple[tuple[Part, ...], ...]:
    """Return what enqueues a job, for a caller that has more to say in the same round trip."""
    now_ms = int(time.time() * 1000)
    return (
        ("SET", JOB + job_id, dumps(job, payload, now_ms), "NX"),
        ("ZADD", QUEUE, "NX", now_ms, job_id),
    )


def dumps(job: str, payload: dict[str, Any], now_ms: int) -> bytes:
    """Return a job as arq stores it: try, function, arguments, keywords, time of enqueueing."""
    return json.dumps({"t": None, "f": job, "a": [payload], "k": {}, "et": now_ms}).encode()
