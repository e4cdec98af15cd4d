"""The real worker while the things it stands on are taken away: nothing accepted is lost."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from barnabee.clients.queue import Queue
from barnabee.core.errors import DependencyDown
from barnabee.store.conversations import Conversations
from barnabee.store.db import open_database
from support.disk import SmallDisk
from support.redis import RedisServer
from support.turns import make_turn
from support.wait import eventually
from support.worker import WorkerProcess

BACK_WITHIN_S = 15
DETECTED_WITHIN_S = 5


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
async def queue(redis_server: RedisServer) -> AsyncIterator[Queue]:
    queue = Queue(redis_server.url)
    yield queue
    await queue.aclose()


async def record(queue: Queue, number: int) -> str:
    """Enqueue turn `number` as the API does, again and again until it is accepted."""
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
        turns = await Conversations(database).turns(limit=100_000)
    finally:
        await database.close()
    return Counter(turn.trace_id for turn in turns)


async def all_recorded(worker: WorkerProcess, accepted: list[str]) -> None:
    async def same() -> bool:
        found = await recorded(worker)
        missing = set(accepted) - set(found)
        assert not missing, f"{len(missing)} of {len(accepted)} are missing"
        assert found == Counter(dict.fromkeys(accepted, 1))
        return True

    await eventually(same, within_s=BACK_WITHIN_S, every_s=0.3)


async def test_worker_and_redis_killed_again_and_again_lose_no_accepted_turn(
    worker: WorkerProcess, queue: Queue, redis_server: RedisServer
) -> None:
    await worker.becomes("healthy")
    accepted: list[str] = []

    enough = asyncio.Event()

    async def talk() -> None:
        while not enough.is_set():
            accepted.append(await record(queue, len(accepted)))
            await asyncio.sleep(0.002)

    async def grown(by: int) -> None:
        aim = len(accepted) + by
        await eventually(lambda: asyncio.sleep(0, len(accepted) >= aim), within_s=30)

    talking = asyncio.create_task(talk())
    for _ in range(2):
        await grown(100)
        worker.end()
        worker.start()
        await grown(100)
        redis_server.kill()
        redis_server.start()
    await grown(100)
    enough.set()
    await talking

    await all_recorded(worker, accepted)
    assert len(accepted) >= 500


async def test_without_redis_the_worker_stays_up_says_so_and_goes_on_when_it_is_back(
    worker: WorkerProcess, queue: Queue, redis_server: RedisServer
) -> None:
    await worker.becomes("healthy")
    assert worker.process is not None
    redis_server.kill()

    health = await worker.becomes("unhealthy", within_s=DETECTED_WITHIN_S)
    assert health["dependencies"]["redis"]["code"] == "dependency_down"
    assert health["dependencies"]["database"]["status"] == "healthy"

    redis_server.start()
    await worker.becomes("healthy", within_s=DETECTED_WITHIN_S)
    await all_recorded(worker, [await record(queue, 1)])
    assert worker.process.poll() is None
    assert worker.log.count("jobs_interrupted") <= 3


async def test_on_a_full_disk_turns_wait_under_their_code_and_are_recorded_after(
    worker: WorkerProcess, queue: Queue, disk: SmallDisk
) -> None:
    await worker.becomes("healthy")
    disk.fill()
    big = make_turn(1, reply="x" * 8_000_000)  # more than the log may still have free inside
    await queue.enqueue("record_turn", big.as_dict(), job_id=big.trace_id)

    health = await worker.becomes("unhealthy", within_s=DETECTED_WITHIN_S)
    assert health["dependencies"]["database"]["code"] == "database_full"
    await failed_with(worker, "database_full")
    assert await queue.depth() == 1

    disk.free()
    await worker.becomes("healthy")
    await all_recorded(worker, [big.trace_id])


async def test_on_a_read_only_disk_turns_wait_under_their_code_and_are_recorded_after(
    worker: WorkerProcess, queue: Queue, disk: SmallDisk
) -> None:
    await worker.becomes("healthy")
    worker.end()
    disk.make_read_only()
    try:
        accepted = [await record(queue, number) for number in range(5)]
        worker.start()

        health = await worker.becomes("unhealthy")
        assert health["dependencies"]["database"]["code"] == "database_read_only"
        await failed_with(worker, "database_read_only")
        assert await queue.depth() >= 5  # and the expiry of old turns
    finally:
        disk.make_writable()

    await worker.becomes("healthy")
    await all_recorded(worker, accepted)


async def test_a_disk_that_becomes_read_only_under_the_worker_is_seen(
    worker: WorkerProcess, disk: SmallDisk
) -> None:
    await worker.becomes("healthy")
    disk.make_read_only()
    try:
        health = await worker.becomes("unhealthy", within_s=DETECTED_WITHIN_S)
        assert health["dependencies"]["database"]["code"] == "database_read_only"
    finally:
        disk.make_writable()
    await worker.becomes("healthy")


async def failed_with(worker: WorkerProcess, code: str) -> None:
    async def counted() -> bool:
        line = f'barnabee_jobs_failed_total{{code="{code}",name="record_turn"}}'
        return line in await worker.metrics()

    await eventually(counted, within_s=BACK_WITHIN_S)
