"""Job queue and Redis client with a real Redis."""

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


async def test_arq_reads_enqueued_jobs(queue: JobQueue, redis_server: RedisServer) -> None:
    await enqueue(queue, 1)

    async with redis.asyncio.Redis.from_url(redis_server.url) as client:
        job = Job(make_turn(1).trace_id, client, _deserializer=load_job)
        assert await job.status() == JobStatus.queued
        info = await job.info()
    assert info is not None
    assert list(info.args) == [make_turn(1).as_dict()]


async def test_a_job_never_expires(queue: JobQueue, link: RedisClient) -> None:
    await enqueue(queue, 1)

    assert await link.pttl(f"arq:job:{make_turn(1).trace_id}") == -1


async def test_a_job_id_is_queued_once(queue: JobQueue) -> None:
    await queue.enqueue("record_turn", {"first": True}, job_id="one")
    await queue.enqueue("record_turn", {"first": False}, job_id="one")

    assert await queue.depth() == 1


async def test_enqueueing_is_one_round_trip(queue: JobQueue, link: RedisClient) -> None:
    before = await commands_so_far(link)
    await enqueue(queue, 1)

    after = await commands_so_far(link)
    assert after - before == 5  # INFO, MULTI, SET, ZADD, EXEC


async def commands_so_far(link: RedisClient) -> int:
    return int((await link.info("stats"))["total_commands_processed"])


async def test_concurrent_commands_get_their_own_replies(link: RedisClient) -> None:
    async def echo(number: int) -> None:
        assert await link.echo(str(number)) == str(number).encode()

    await asyncio.gather(*(echo(number) for number in range(500)))


@pytest.mark.parametrize("has_pipeline", [False, True])
async def test_a_cancelled_call_spoils_no_connection(link: RedisClient, has_pipeline: bool) -> None:
    for steps in range(100):  # more than the pool has connections
        pipeline = link.pipeline().echo("first").echo("first")
        call = pipeline.execute() if has_pipeline else link.execute_command("ECHO", "first")
        cancelled = asyncio.create_task(call)
        for _ in range(steps % 20):
            await asyncio.sleep(0)
        cancelled.cancel()

        assert await link.echo("second") == b"second"
        assert await link.pipeline().echo("third").execute() == [b"third"]


async def test_a_closed_client_has_no_connections(
    link: RedisClient, redis_server: RedisServer
) -> None:
    await asyncio.gather(*(link.ping() for _ in range(10)))
    assert (await link.info("clients"))["connected_clients"] > 1
    await link.aclose()

    async def is_alone() -> bool:
        return b"connected_clients:1\r" in await asyncio.to_thread(
            redis_server.send, "INFO", "clients"
        )

    assert await eventually(is_alone)


async def test_a_killed_redis_is_reported_and_reconnected(
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

    assert await eventually(depth) == 1  # the job before the crash is still there


async def test_accepted_jobs_survive_a_kill_of_redis(
    queue: JobQueue, redis_server: RedisServer
) -> None:
    accepted: set[bytes] = set()

    async def enqueue_jobs() -> None:
        for number in range(100_000):
            await enqueue(queue, number)
            accepted.add(make_turn(number).trace_id.encode())

    producer = asyncio.create_task(enqueue_jobs())
    await eventually(lambda: asyncio.sleep(0, len(accepted) > 200))
    redis_server.kill()
    with pytest.raises(DependencyDown):
        await producer
    redis_server.start()

    async with redis.asyncio.Redis.from_url(redis_server.url) as client:
        queued = set(await client.zrange(QUEUE_KEY, 0, -1))
        jobs = {key.split(b":")[-1] for key in await client.keys("arq:job:*")}
    assert accepted <= queued
    assert queued == jobs


async def test_a_hanging_redis_times_out_and_is_used_again(redis_server: RedisServer) -> None:
    link = RedisClient(redis_server.url, timeout_s=1)
    await link.ping()
    assert redis_server.process is not None
    redis_server.process.send_signal(signal.SIGSTOP)
    try:
        with pytest.raises(DependencyDown, match="no reply for 1 s"):
            await link.ping()
    finally:
        redis_server.process.send_signal(signal.SIGCONT)

    async def answers() -> bool:
        try:
            await link.ping()
        except DependencyDown as error:
            raise OSError(str(error)) from error
        return True

    assert await eventually(answers)
    await link.aclose()


async def test_a_refused_write_raises_and_stores_nothing(
    queue: JobQueue, link: RedisClient
) -> None:
    await link.config_set("maxmemory", 1)

    with pytest.raises(DependencyDown, match="maxmemory") as refused:
        await enqueue(queue, 1)
    assert make_turn(1).utterance not in str(refused.value)

    await link.config_set("maxmemory", 0)
    assert await queue.depth() == 0
    assert await link.keys("arq:job:*") == []
