"""Worker process during outages of its dependencies: no accepted turn is lost."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from barnabee.clients.queue import JobQueue
from barnabee.core.errors import DependencyDown
from barnabee.store.conversations import Conversations
from barnabee.store.db import open_database
from support.disk import SmallDisk
from support.redis import RedisServer
from support.turn_records import make_turn
from support.wait import eventually
from support.worker import WorkerProcess


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    disk = SmallDisk(tmp_path / "data")
    disk.mount()
    yield disk
    disk.unmount()


@pytest.fixture
def worker(tmp_path: Path, redis_server: RedisServer, disk: SmallDisk) -> Iterator[WorkerProcess]:
    worker = WorkerProcess(tmp_path / "worker", redis_server.url, disk.directory)
    worker.start()
    yield worker
    worker.clean_up()


@pytest.fixture
async def queue(redis_server: RedisServer) -> AsyncIterator[JobQueue]:
    queue = JobQueue(redis_server.url)
    yield queue
    await queue.aclose()


async def enqueue_turn(queue: JobQueue, number: int) -> str:
    """Enqueue turn `number` as the API does, retrying until it is accepted."""
    turn = make_turn(number)
    while True:
        try:
            await queue.enqueue("record_turn", turn.as_dict(), job_id=turn.trace_id)
        except DependencyDown:
            await asyncio.sleep(0.05)
        else:
            return turn.trace_id


async def recorded(worker: WorkerProcess) -> Counter[str]:
    database = await open_database(worker.database)
    try:
        turns = await Conversations(database).list_turns(limit=100_000)
    finally:
        await database.close()
    return Counter(turn.trace_id for turn in turns)


async def wait_until_recorded(worker: WorkerProcess, accepted: list[str]) -> None:
    async def same() -> bool:
        found = await recorded(worker)
        missing = set(accepted) - set(found)
        assert not missing, f"{len(missing)} of {len(accepted)} are missing"
        assert found == Counter(dict.fromkeys(accepted, 1))
        return True

    await eventually(same, every_s=0.3)


async def test_repeated_kills_of_worker_and_redis_lose_no_accepted_turn(
    worker: WorkerProcess, queue: JobQueue, redis_server: RedisServer
) -> None:
    await worker.wait_for_health("healthy")
    accepted: list[str] = []

    enough = asyncio.Event()

    async def enqueue_turns() -> None:
        while not enough.is_set():
            accepted.append(await enqueue_turn(queue, len(accepted)))
            await asyncio.sleep(0.002)

    async def wait_for_more(count: int) -> None:
        target = len(accepted) + count
        await eventually(lambda: asyncio.sleep(0, len(accepted) >= target))

    producer = asyncio.create_task(enqueue_turns())
    for _ in range(2):
        await wait_for_more(100)
        worker.stop()
        worker.start()
        await wait_for_more(100)
        redis_server.kill()
        redis_server.start()
    await wait_for_more(100)
    enough.set()
    await producer

    await wait_until_recorded(worker, accepted)
    assert len(accepted) >= 500


async def test_the_worker_survives_a_redis_outage_and_reports_it(
    worker: WorkerProcess, queue: JobQueue, redis_server: RedisServer
) -> None:
    await worker.wait_for_health("healthy")
    assert worker.process is not None
    redis_server.kill()

    health = await worker.wait_for_health("unhealthy")
    assert health["dependencies"]["redis"]["code"] == "dependency_down"
    assert health["dependencies"]["database"]["status"] == "healthy"

    redis_server.start()
    await worker.wait_for_health("healthy")
    await wait_until_recorded(worker, [await enqueue_turn(queue, 1)])
    assert worker.process.poll() is None
    assert worker.log.count("jobs_interrupted") <= 3


async def test_turns_wait_while_the_disk_is_full(
    worker: WorkerProcess, queue: JobQueue, disk: SmallDisk
) -> None:
    await worker.wait_for_health("healthy")
    disk.fill()
    big = make_turn(1, reply="x" * 8_000_000)  # more than the write-ahead log can still hold
    await queue.enqueue("record_turn", big.as_dict(), job_id=big.trace_id)

    health = await worker.wait_for_health("unhealthy")
    assert health["dependencies"]["database"]["code"] == "database_full"
    await wait_for_failure(worker, "database_full")
    assert await queue.depth() == 1

    disk.free()
    await worker.wait_for_health("healthy")
    await wait_until_recorded(worker, [big.trace_id])


async def test_turns_wait_while_the_disk_is_read_only(
    worker: WorkerProcess, queue: JobQueue, disk: SmallDisk
) -> None:
    await worker.wait_for_health("healthy")
    worker.stop()
    disk.make_read_only()
    try:
        accepted = [await enqueue_turn(queue, number) for number in range(5)]
        worker.start()

        health = await worker.wait_for_health("unhealthy")
        assert health["dependencies"]["database"]["code"] == "database_read_only"
        await wait_for_failure(worker, "database_read_only")
        assert await queue.depth() >= 5  # and the expiry of old turns
    finally:
        disk.make_writable()

    await worker.wait_for_health("healthy")
    await wait_until_recorded(worker, accepted)


async def test_a_disk_that_becomes_read_only_is_detected(
    worker: WorkerProcess, disk: SmallDisk
) -> None:
    await worker.wait_for_health("healthy")
    disk.make_read_only()
    try:
        health = await worker.wait_for_health("unhealthy")
        assert health["dependencies"]["database"]["code"] == "database_read_only"
    finally:
        disk.make_writable()
    await worker.wait_for_health("healthy")


async def wait_for_failure(worker: WorkerProcess, code: str) -> None:
    async def counted() -> bool:
        line = f'barnabee_jobs_failed_total{{code="{code}",name="record_turn"}}'
        return line in await worker.metrics()

    await eventually(counted)
