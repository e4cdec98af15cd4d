from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from barnabee.api import turn_recorder
from barnabee.api.request_bodies import TurnTimingsRequest
from barnabee.api.turn_recorder import DatabaseFactMemory, TurnWriter
from barnabee.clients.queue import JOB_KEY_PREFIX, QUEUE_KEY, JobQueue
from barnabee.core import tracing
from barnabee.core.errors import DatabaseFull, DependencyDown, Overloaded
from barnabee.core.redis_client import RedisClient
from barnabee.store.conversations import Conversations, Fact, TurnRecord
from barnabee.store.db import Database, open_database
from barnabee.store.sessions import Exchange, Session, Sessions
from barnabee.store.turn_timings import TurnTimingsStore
from support.fake_engines import make_vector
from support.redis import RedisServer
from support.turn_records import REPORT_BODY

TIMINGS = TurnTimingsRequest.model_validate(REPORT_BODY)


SESSION = Session("s", (Exchange("hi", "hello", "greeting"),))


KEY = "the spare key is under the mat"


def make_turn(number: int) -> TurnRecord:
    return TurnRecord(
        trace_id=f"{number:032x}",
        session_id="s",
        speaker=None,
        utterance="hi",
        reply="hello",
        intent="greeting",
        actions=[],
        degraded=[],
        latency_ms={"total": 1.0},
        created_at=f"2026-01-01T00:00:00.{number:03d}Z",
    )


class Databases:
    def __init__(self, database: Database) -> None:
        self._database = database
        self.down = False

    async def database(self) -> Database:
        if self.down:
            raise DatabaseFull(path="x", retry_after_s=30)
        return self._database


@pytest.fixture
async def databases(tmp_path: Path) -> AsyncIterator[Databases]:
    database = await open_database(tmp_path / "barnabee.db")
    yield Databases(database)
    await database.close()


@pytest.fixture
async def redis(redis_server: RedisServer) -> AsyncIterator[RedisClient]:
    redis = RedisClient(redis_server.url)
    yield redis
    await redis.aclose()


@pytest.fixture
def writer(redis: RedisClient, databases: Databases) -> TurnWriter:
    return TurnWriter(Sessions(redis, 60, 10), JobQueue(redis), databases, max_held=2)


async def list_turn_ids(databases: Databases) -> list[str]:
    turns = await Conversations(await databases.database()).list_turns()
    return [one.trace_id for one in turns]


async def test_turn_is_queued_together_with_its_session(
    writer: TurnWriter, redis: RedisClient, databases: Databases
) -> None:
    assert await writer.record(make_turn(1), SESSION, acted=False) == []
    assert await redis.zrange(QUEUE_KEY, 0, -1) == [make_turn(1).trace_id.encode()]
    job = json.loads(await redis.get(JOB_KEY_PREFIX + make_turn(1).trace_id))
    assert (job["f"], job["a"]) == ("record_turn", [make_turn(1).as_dict()])
    assert await redis.exists("barnabee:session:s") == 1
    assert await list_turn_ids(databases) == []


async def test_without_redis_a_turn_is_written_to_the_database(
    writer: TurnWriter, redis_server: RedisServer, databases: Databases
) -> None:
    redis_server.kill()
    assert await writer.record(make_turn(1), SESSION, acted=False) == ["redis"]
    assert await list_turn_ids(databases) == [make_turn(1).trace_id]


async def test_without_both_a_read_only_command_is_refused(
    writer: TurnWriter, redis_server: RedisServer, databases: Databases
) -> None:
    redis_server.kill()
    databases.down = True
    with pytest.raises(DatabaseFull) as caught:
        await writer.record(make_turn(1), SESSION, acted=False)
    assert caught.value.retry_after_s == 30
    assert writer.held_count == 0


async def test_without_both_an_executed_command_s_turn_is_held(
    writer: TurnWriter, redis_server: RedisServer, databases: Databases
) -> None:
    redis_server.kill()
    databases.down = True
    assert await writer.record(make_turn(1), SESSION, acted=True) == ["redis", "database"]
    await writer.flush()
    assert writer.held_count == 1
    databases.down = False
    await writer.flush()
    assert writer.held_count == 0
    assert await list_turn_ids(databases) == [make_turn(1).trace_id]


async def test_at_capacity_commands_are_refused_before_execution(
    writer: TurnWriter, redis_server: RedisServer, databases: Databases
) -> None:
    redis_server.kill()
    databases.down = True
    for number in range(2):
        writer.check_capacity()
        await writer.record(make_turn(number), SESSION, acted=True)
    with pytest.raises(Overloaded) as caught:
        writer.check_capacity()
    assert caught.value.retry_after_s == turn_recorder.RETRY_AFTER_S


async def test_held_turns_are_flushed_at_shutdown(
    writer: TurnWriter, redis_server: RedisServer, databases: Databases
) -> None:
    redis_server.kill()
    databases.down = True
    await writer.record(make_turn(1), SESSION, acted=True)
    flushing = asyncio.create_task(writer.flush_periodically())
    await asyncio.sleep(0)
    databases.down = False
    flushing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await flushing
    assert await list_turn_ids(databases) == [make_turn(1).trace_id]


async def list_timing_ids(databases: Databases) -> list[str]:
    ids = [f"{number:032x}" for number in range(9)]
    return list(await TurnTimingsStore(await databases.database()).find(ids))


async def test_timings_are_queued_beside_their_turn(
    writer: TurnWriter, redis: RedisClient, databases: Databases
) -> None:
    for _ in range(2):
        assert await writer.record_timings(make_turn(1).trace_id, TIMINGS) == []
    await writer.record(make_turn(1), SESSION, acted=False)

    waiting = await redis.zrange(QUEUE_KEY, 0, -1)
    assert set(waiting) == {
        make_turn(1).trace_id.encode(),
        f"spoken-{make_turn(1).trace_id}".encode(),
    }
    job = json.loads(await redis.get(f"{JOB_KEY_PREFIX}spoken-{make_turn(1).trace_id}"))
    assert job["f"] == "record_spoken"
    assert job["a"][0]["filler"] == REPORT_BODY["filler"]
    assert await list_timing_ids(databases) == []


async def test_without_redis_timings_are_written_to_the_database(
    writer: TurnWriter, redis_server: RedisServer, databases: Databases
) -> None:
    redis_server.kill()
    for _ in range(2):
        assert await writer.record_timings(make_turn(1).trace_id, TIMINGS) == ["redis"]
    assert await list_timing_ids(databases) == [make_turn(1).trace_id]


async def test_without_both_timings_are_held_up_to_the_limit(
    writer: TurnWriter, redis_server: RedisServer, databases: Databases
) -> None:
    redis_server.kill()
    databases.down = True
    await writer.record(make_turn(1), SESSION, acted=True)
    assert await writer.record_timings(make_turn(1).trace_id, TIMINGS) == ["redis", "database"]
    with pytest.raises(Overloaded):
        await writer.record_timings(make_turn(2).trace_id, TIMINGS)
    databases.down = False
    await writer.flush()
    assert writer.held_count == 0
    assert await list_turn_ids(databases) == [make_turn(1).trace_id]
    assert await list_timing_ids(databases) == [make_turn(1).trace_id]


@pytest.fixture
def memory(redis: RedisClient, databases: Databases) -> DatabaseFactMemory:
    return DatabaseFactMemory(JobQueue(redis), databases, lambda: datetime(2026, 1, 1, tzinfo=UTC))


async def test_fact_is_available_to_the_next_command(memory: DatabaseFactMemory) -> None:
    tracing.adopt_trace_id(None)
    assert await memory.remember(KEY, make_vector(KEY), "Emma") == []
    facts = await memory.facts()
    assert [fact.text for fact in facts] == [KEY]
    assert facts[0].vector is not None
    np.testing.assert_array_equal(facts[0].vector, make_vector(KEY))


async def test_fact_without_a_vector_is_stored(memory: DatabaseFactMemory) -> None:
    tracing.adopt_trace_id(None)
    await memory.remember(KEY, None, None)
    assert [(fact.text, fact.vector) for fact in await memory.facts()] == [(KEY, None)]


async def test_one_command_can_store_several_facts_each_once(memory: DatabaseFactMemory) -> None:
    tracing.adopt_trace_id(None)
    for text in (KEY, "the bins go out on tuesday", KEY):
        await memory.remember(text, None, None)
    assert [fact.text for fact in await memory.facts()] == [KEY, "the bins go out on tuesday"]


async def test_a_forgotten_fact_is_gone(memory: DatabaseFactMemory) -> None:
    tracing.adopt_trace_id(None)
    await memory.remember(KEY, None, None)
    await memory.remember("the bins go out on tuesday", None, None)
    kept, gone = sorted(await memory.facts(), key=lambda fact: fact.text == KEY)
    await memory.forget([gone.fact_id])
    assert await memory.facts() == [kept]


async def test_forgetting_without_the_database_is_an_error(
    memory: DatabaseFactMemory, databases: Databases
) -> None:
    databases.down = True
    with pytest.raises(DatabaseFull):
        await memory.forget(["any"])


async def test_without_the_database_the_fact_is_queued(
    memory: DatabaseFactMemory, databases: Databases, redis: RedisClient
) -> None:
    trace_id = tracing.adopt_trace_id(None)
    databases.down = True
    assert await memory.remember(KEY, make_vector(KEY), "Emma") == ["database"]
    (key,) = await redis.keys(f"{JOB_KEY_PREFIX}fact-{trace_id}-*")
    job = json.loads(await redis.get(key))
    assert job["f"] == "remember_fact"
    assert Fact.from_dict(job["a"][0]).text == KEY


async def test_without_both_the_fact_is_an_error(
    memory: DatabaseFactMemory, databases: Databases, redis_server: RedisServer
) -> None:
    tracing.adopt_trace_id(None)
    databases.down = True
    redis_server.kill()
    with pytest.raises(DependencyDown):
        await memory.remember(KEY, None, None)
