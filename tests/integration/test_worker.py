"""Worker process with a real Redis: jobs, metrics and shutdown."""

from __future__ import annotations

import signal
import sqlite3
import sysconfig
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import pytest

from barnabee.clients.queue import JobQueue
from barnabee.store.conversations import Conversations, TurnRecord
from barnabee.store.db import open_database
from support.redis import RedisServer
from support.turn_records import make_turn
from support.wait import eventually
from support.worker import MODULE, WorkerProcess

ARQ = (f"{sysconfig.get_path('scripts')}/arq", "barnabee.workers.WorkerSettings")
RSS_LIMIT_MIB = 120


@pytest.fixture
def worker(tmp_path: Path, redis_server: RedisServer) -> Iterator[WorkerProcess]:
    worker = WorkerProcess(tmp_path / "worker", redis_server.url, tmp_path / "data")
    yield worker
    worker.clean_up()


@pytest.fixture
async def queue(redis_server: RedisServer) -> AsyncIterator[JobQueue]:
    queue = JobQueue(redis_server.url)
    yield queue
    await queue.aclose()


async def enqueue_turn(queue: JobQueue, turn: TurnRecord) -> None:
    await queue.enqueue("record_turn", turn.as_dict(), job_id=turn.trace_id)


async def recorded(worker: WorkerProcess) -> list[TurnRecord]:
    database = await open_database(worker.database)
    try:
        return await Conversations(database).list_turns(limit=100_000)
    finally:
        await database.close()


def has_recorded(worker: WorkerProcess, expected: int) -> Callable[[], object]:
    async def check() -> bool:
        return len(await recorded(worker)) == expected

    return check


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the database's write lock, so that a job keeps running."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            other.execute("ROLLBACK")


async def wait_for_running_job(worker: WorkerProcess, redis_server: RedisServer) -> None:
    queue = JobQueue(redis_server.url)

    async def claimed() -> object:
        return await queue._link.exists(f"arq:in-progress:{make_turn(1).trace_id}")

    await eventually(claimed)
    await queue.aclose()


@pytest.mark.parametrize("command", [MODULE, ARQ], ids=["module", "arq"])
async def test_an_enqueued_turn_is_recorded(
    worker: WorkerProcess, queue: JobQueue, command: tuple[str, ...]
) -> None:
    worker.command = command
    worker.start()
    health = await worker.wait_for_health("healthy")
    assert set(health["dependencies"]) == {"redis", "database", "queue"}

    secret = make_turn(1, utterance="the code of the safe is 4711")
    await enqueue_turn(queue, secret)
    await eventually(has_recorded(worker, 1))  # type: ignore[arg-type]

    assert await recorded(worker) == [secret]
    metrics = await worker.metrics()
    assert 'barnabee_jobs_done_total{name="record_turn"} 1.0' in metrics
    assert 'barnabee_jobs_done_total{name="expire_old"} 1.0' in metrics
    await eventually(queue_is_empty(worker))
    assert worker.stop(signal.SIGTERM) == 0
    assert "4711" not in worker.log
    assert secret.trace_id in worker.log


def queue_is_empty(worker: WorkerProcess) -> Callable[[], Awaitable[bool]]:
    async def check() -> bool:
        return "barnabee_queue_depth 0.0" in await worker.metrics()  # updated every 2 s

    return check


async def test_an_idle_worker_is_small(worker: WorkerProcess) -> None:
    worker.start()
    await worker.wait_for_health("healthy")

    assert worker.resident_mib() <= RSS_LIMIT_MIB


async def test_metrics_need_the_token_and_health_does_not(worker: WorkerProcess) -> None:
    worker.start()
    await worker.wait_for_health("healthy")

    async with httpx.AsyncClient() as client:
        answer = await client.get(f"http://127.0.0.1:{worker.port}/metrics")

    assert answer.status_code == 401
    assert answer.json()["code"] == "unauthorized"


async def test_an_unknown_job_is_dead_lettered_and_counted(
    worker: WorkerProcess, queue: JobQueue
) -> None:
    worker.start()
    await worker.wait_for_health("healthy")

    await queue.enqueue("job_of_a_newer_program", {"x": 1}, job_id="strange")

    async def dead_lettered() -> bool:
        return "barnabee_jobs_set_aside 1.0" in await worker.metrics()

    await eventually(dead_lettered)
    letter = await queue._link.execute_command("HGET", "barnabee:set-aside", "strange")
    assert b"job_of_a_newer_program" in letter
    await eventually(lambda: is_empty(queue))


async def test_a_stopping_worker_finishes_the_running_job(
    worker: WorkerProcess, queue: JobQueue, redis_server: RedisServer
) -> None:
    worker.start()
    await worker.wait_for_health("healthy")
    with locked(worker.database):
        await enqueue_turn(queue, make_turn(1))
        await wait_for_running_job(worker, redis_server)
        assert worker.process is not None
        worker.process.send_signal(signal.SIGTERM)

    assert worker.process.wait(timeout=120) == 0
    assert await recorded(worker) == [make_turn(1)]
    assert await queue.depth() == 0


async def test_a_stopping_worker_returns_a_job_that_cannot_finish(
    worker: WorkerProcess, queue: JobQueue, redis_server: RedisServer
) -> None:
    worker.start()
    await worker.wait_for_health("healthy")
    with locked(worker.database):
        await enqueue_turn(queue, make_turn(1))
        await wait_for_running_job(worker, redis_server)

        assert worker.stop(signal.SIGTERM) == 0

    assert await recorded(worker) == []
    assert await queue._link.exists(f"arq:job:{make_turn(1).trace_id}") == 1
    worker.start()
    await eventually(has_recorded(worker, 1))  # type: ignore[arg-type]


async def is_empty(queue: JobQueue) -> bool:
    return await queue.depth() == 0


async def test_a_killed_worker_repeats_the_job_after_a_restart(
    worker: WorkerProcess, queue: JobQueue, redis_server: RedisServer
) -> None:
    worker.start()
    await worker.wait_for_health("healthy")
    with locked(worker.database):
        await enqueue_turn(queue, make_turn(1))
        await wait_for_running_job(worker, redis_server)
        worker.stop(signal.SIGKILL)

    # the new worker must not wait until arq's claim expires (30 s, here an hour)
    link = queue._link
    assert await link.expire(f"arq:in-progress:{make_turn(1).trace_id}", 3600) == 1
    worker.start()
    await eventually(has_recorded(worker, 1))  # type: ignore[arg-type]

    await worker.wait_for_health("healthy")
    await eventually(lambda: is_empty(queue))  # the job is removed after it is recorded


async def test_a_damaged_database_is_refused_with_a_remedy(worker: WorkerProcess) -> None:
    worker.data.mkdir()
    worker.database.write_bytes(b"no database at all " * 1000)

    worker.start()
    assert worker.process is not None

    assert worker.process.wait(timeout=120) == 1
    worker.process = None
    assert "database_corrupt: " in worker.log
    assert "barnabee restore" in worker.log
