"""The queue and the line it runs on, against a real Redis."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator

import pytest
import redis.asyncio
from arq.jobs import Job, JobStatus

from barnabee.clients.queue import QUEUE_KEY, JobQueue
from barnabee.core.errors import DependencyDown
from barnabee.core.redis_client import RedisClient
from barnabee.workers.jobs import load_job
from support.redis import RedisServer
from support.turn_records import make_turn
from support.wait import eventually


@pytest.fixture
async def link(redis_server: RedisServer) -> AsyncIterator[RedisClient]:
    link = RedisClient(redis_server.url)
    yield link
    await link.aclose()


@pytest.fixture
def queue(link: RedisClient) -> JobQueue:
    return JobQueue(link)


async def enqueue(queue: JobQueue, number: int) -> None:
    turn = make_turn(number)
    await queue.enqueue("record_turn", turn.as_dict(), job_id=turn.trace_id)


async def test_arq_sees_what_was_enqueued(queue: JobQueue, redis_server: RedisServer) -> None:
    await enqueue(queue, 1)

    async with redis.asyncio.Redis.from_url(redis_server.url) as client:
        job = Job(make_turn(1).trace_id, client, _deserializer=load_job)
        assert await job.status() == JobStatus.queued
        info = await job.info()
    assert info is not None
    assert list(info.args) == [make_turn(1).as_dict()]


async def test_a_job_never_expires(queue: JobQueue, link: RedisClient) -> None:
    await enqueue(queue, 1)

    assert await link.command("PTTL", f"arq:job:{make_turn(1).trace_id}") == -1


async def test_the_same_job_is_queued_once_and_stays_as_it_was(queue: JobQueue) -> None:
    await queue.enqueue("record_turn", {"first": True}, job_id="one")
    await queue.enqueue("record_turn", {"first": False}, job_id="one")

    assert await queue.depth() == 1


async def test_enqueueing_is_one_round_trip(queue: JobQueue, link: RedisClient) -> None:
    """Redis counts what came in: one transaction of two commands."""
    before = int(await commands_so_far(link))
    await enqueue(queue, 1)

    after = int(await commands_so_far(link))
    assert after - before == 5  # INFO, MULTI, SET, ZADD, EXEC


async def commands_so_far(link: RedisClient) -> str:
    text = (await link.command("INFO", "stats")).decode()
    return next(
        line.split(":")[1] for line in text.splitlines() if line.startswith("total_commands")
    )


async def test_many_at_once_get_their_own_answers(link: RedisClient) -> None:
    async def echo(number: int) -> None:
        assert await link.command("ECHO", str(number)) == str(number).encode()

    await asyncio.gather(*(echo(number) for number in range(500)))


async def test_a_caller_who_left_does_not_shift_the_answers(link: RedisClient) -> None:
    await link.ping()
    left = asyncio.create_task(link.command("ECHO", "nobody"))
    await asyncio.sleep(0)
    left.cancel()

    assert await link.command("ECHO", "mine") == b"mine"


async def test_a_killed_redis_is_named_at_once_and_found_again(
    queue: JobQueue, redis_server: RedisServer
) -> None:
    await enqueue(queue, 1)
    redis_server.kill()

    with pytest.raises(DependencyDown, match="redis"):
        await enqueue(queue, 2)
    redis_server.start()

    async def depth() -> int:
        try:
            return await queue.depth()
        except DependencyDown as error:
            raise OSError(str(error)) from error

    assert await eventually(depth, within_s=5) == 1  # the job before the crash is still there


async def test_everything_accepted_before_kill_9_is_there_after(
    queue: JobQueue, redis_server: RedisServer
) -> None:
    accepted: set[bytes] = set()

    async def pour() -> None:
        for number in range(100_000):
            await enqueue(queue, number)
            accepted.add(make_turn(number).trace_id.encode())

    pouring = asyncio.create_task(pour())
    await eventually(lambda: asyncio.sleep(0, len(accepted) > 200), within_s=20)
    redis_server.kill()
    with pytest.raises(DependencyDown):
        await pouring
    redis_server.start()

    async with redis.asyncio.Redis.from_url(redis_server.url) as client:
        kept = set(await client.zrange(QUEUE_KEY, 0, -1))
        jobs = {key.split(b":")[-1] for key in await client.keys("arq:job:*")}
    assert accepted <= kept
    assert kept == jobs


async def test_a_redis_that_hangs_is_given_up_and_used_again(redis_server: RedisServer) -> None:
    link = RedisClient(redis_server.url, timeout_s=0.2)
    await link.ping()
    assert redis_server.process is not None
    redis_server.process.send_signal(signal.SIGSTOP)
    try:
        with pytest.raises(DependencyDown, match="no answer"):
            await link.ping()
    finally:
        redis_server.process.send_signal(signal.SIGCONT)

    async def answers() -> bool:
        try:
            await link.ping()
        except DependencyDown as error:
            raise OSError(str(error)) from error
        return True

    assert await eventually(answers, within_s=5)
    await link.aclose()


async def test_a_refused_write_is_told_and_leaves_nothing_behind(
    queue: JobQueue, link: RedisClient
) -> None:
    await link.command("CONFIG", "SET", "maxmemory", 1)

    with pytest.raises(DependencyDown, match=r"OOM|EXECABORT"):
        await enqueue(queue, 1)

    await link.command("CONFIG", "SET", "maxmemory", 0)
    assert await queue.depth() == 0
    assert await link.command("KEYS", "arq:job:*") == []
