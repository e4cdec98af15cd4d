"""The stand-by's Redis copies the holder's, and is a Redis of its own once it is the holder's.

Becoming a copy wipes what was there: jobs that were accepted here and never done are handed to the
holder first. Every job may be done twice, so none is asked whether it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import structlog

from barnabee.clients.queue import JOB, QUEUE
from barnabee.core.redis_client import RedisLink

SET_ASIDE = "barnabee:set-aside"
BATCH = 100

Address = tuple[str, int]

log = structlog.get_logger()


async def follow(own: RedisLink, holder: Address) -> bool:
    """Make `own` a copy of the Redis at `holder`; return whether it was none. DependencyDown."""
    if await master_of(own) == holder:
        return False
    there = RedisLink(f"redis://{holder[0]}:{holder[1]}/0")
    try:
        handed = await hand_over(own, there)
    finally:
        await there.aclose()
    await own.command("REPLICAOF", holder[0], holder[1])
    log.info("redis_follows", holder=f"{holder[0]}:{holder[1]}", jobs_handed_over=handed)
    return True


async def lead(own: RedisLink) -> bool:
    """Make `own` follow nobody; return whether it did. DependencyDown."""
    if await master_of(own) is None:
        return False
    await own.command("REPLICAOF", "NO", "ONE")
    log.info("redis_leads")
    return True


async def master_of(link: RedisLink) -> Address | None:
    """Return whose copy a Redis is, or None when it is nobody's."""
    return parse_role(await link.command("ROLE"))


def parse_role(answer: Sequence[Any]) -> Address | None:
    """Return the master's address out of the answer to ROLE. Pure."""
    if not answer or bytes(answer[0]) != b"slave":
        return None
    return bytes(answer[1]).decode(), int(answer[2])


async def hand_over(own: RedisLink, there: RedisLink) -> int:
    """Put every job of `own` into the queue of `there`, unless it is in it; return how many."""
    if await master_of(own) is not None:
        return 0  # it is somebody's copy: what is in it is there already
    count = 0
    members = await own.command("ZRANGE", QUEUE, 0, -1, "WITHSCORES")
    jobs = list(zip(members[::2], members[1::2], strict=True))
    for start in range(0, len(jobs), BATCH):
        some = jobs[start : start + BATCH]
        contents = await own.command("MGET", *(JOB.encode() + job_id for job_id, _ in some))
        for (job_id, score), content in zip(some, contents, strict=True):
            if content is not None:
                await there.transaction(
                    ("SET", JOB.encode() + job_id, content, "NX"),
                    ("ZADD", QUEUE, "NX", score, job_id),
                )
                count += 1
    aside = await own.command("HGETALL", SET_ASIDE)
    for name, note in zip(aside[::2], aside[1::2], strict=True):
        await there.command("HSETNX", SET_ASIDE, name, note)
    return count
