from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from barnabee.api import turn_recorder
from barnabee.api.request_bodies import TurnTimingsRequest
from barnabee.api.turn_recorder import TurnWriter
from barnabee.clients.queue import JOB_KEY_PREFIX, QUEUE_KEY, JobQueue
from barnabee.core.errors import DatabaseFull, Overloaded
from barnabee.core.redis_client import RedisClient
from barnabee.store.conversations import Conversations, TurnRecord
from barnabee.store.db import Database, open_database
from barnabee.store.sessions import Exchange, Session, Sessions
from barnabee.store.turn_timings import TurnTimingsStore
from support.redis import RedisServer
from support.turn_records import REPORT_BODY

TOLD = TurnTimingsRequest.model_validate(REPORT_BODY)
SESSION = Session("s", (Exchange("hi", "hello", "greeting"),))


def turn(number: int) -> TurnRecord:
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
async def link(redis_server: RedisServer) -> AsyncIterator[RedisClient]:
    link = RedisClient(redis_server.url)
    yield link
    await link.aclose()


@pytest.fixture
def recorder(link: RedisClient, databases: Databases) -> TurnWriter:
    return TurnWriter(Sessions(link, 60, 10), JobQueue(link), databases, held_at_most=2)


async def written(databases: Databases) -> list[str]:
    turns = await Conversations(await databases.database()).list_turns()
    return [one.trace_id for one in turns]


async def test_a_turn_goes_into_the_queue_and_the_session_with_it(
    recorder: TurnWriter, link: RedisClient, databases: Databases
) -> None:
    assert await recorder.record(turn(1), SESSION, acted=False) == []
    assert await link.command("ZRANGE", QUEUE_KEY, 0, -1) == [turn(1).trace_id.encode()]
    job = json.loads(await link.command("GET", JOB_KEY_PREFIX + turn(1).trace_id))
    assert (job["f"], job["a"]) == ("record_turn", [turn(1).as_dict()])
    assert await link.command("EXISTS", "barnabee:session:s") == 1
    assert await written(databases) == []


async def test_without_redis_a_turn_is_written_at_once(
    recorder: TurnWriter, redis_server: RedisServer, databases: Databases
) -> None:
    redis_server.kill()
    assert await recorder.record(turn(1), SESSION, acted=False) == ["redis"]
    assert await written(databases) == [turn(1).trace_id]


async def test_without_both_a_command_that_changed_nothing_is_refused(
    recorder: TurnWriter, redis_server: RedisServer, databases: Databases
) -> None:
    redis_server.kill()
    databases.down = True
    with pytest.raises(DatabaseFull) as caught:
        await recorder.record(turn(1), SESSION, acted=False)
    assert caught.value.retry_after_s == 30
    assert recorder.held == 0


async def test_without_both_what_was_done_is_held_until_either_is_back(
    recorder: TurnWriter, redis_server: RedisServer, databases: Databases
) -> None:
    redis_server.kill()
    databases.down = True
    assert await recorder.record(turn(1), SESSION, acted=True) == ["redis", "database"]
    await recorder.flush()
    assert recorder.held == 1
    databases.down = False
    await recorder.flush()
    assert recorder.held == 0
    assert await written(databases) == [turn(1).trace_id]


async def test_no_command_is_begun_when_its_turn_could_not_even_be_held(
    recorder: TurnWriter, redis_server: RedisServer, databases: Databases
) -> None:
    redis_server.kill()
    databases.down = True
    for number in range(2):
        recorder.check_room()
        await recorder.record(turn(number), SESSION, acted=True)
    with pytest.raises(Overloaded) as caught:
        recorder.check_room()
    assert caught.value.retry_after_s == turn_recorder.RETRY_AFTER_S


async def test_what_is_held_is_tried_a_last_time_when_the_service_ends(
    recorder: TurnWriter, redis_server: RedisServer, databases: Databases
) -> None:
    redis_server.kill()
    databases.down = True
    await recorder.record(turn(1), SESSION, acted=True)
    flushing = asyncio.create_task(recorder.flush_for_ever())
    await asyncio.sleep(0)
    databases.down = False
    flushing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await flushing
    assert await written(databases) == [turn(1).trace_id]


async def spoken(databases: Databases) -> list[str]:
    ids = [f"{number:032x}" for number in range(9)]
    return list(await TurnTimingsStore(await databases.database()).find(ids))


async def test_what_the_voice_measured_waits_in_the_queue_beside_its_turn(
    recorder: TurnWriter, link: RedisClient, databases: Databases
) -> None:
    for _ in range(2):
        assert await recorder.record_spoken(turn(1).trace_id, TOLD) == []
    await recorder.record(turn(1), SESSION, acted=False)

    waiting = await link.command("ZRANGE", QUEUE_KEY, 0, -1)
    assert set(waiting) == {turn(1).trace_id.encode(), f"spoken-{turn(1).trace_id}".encode()}
    job = json.loads(await link.command("GET", f"{JOB_KEY_PREFIX}spoken-{turn(1).trace_id}"))
    assert job["f"] == "record_spoken"
    assert job["a"][0]["filler"] == REPORT_BODY["filler"]
    assert await spoken(databases) == []


async def test_without_redis_what_the_voice_measured_is_written_at_once(
    recorder: TurnWriter, redis_server: RedisServer, databases: Databases
) -> None:
    redis_server.kill()
    for _ in range(2):
        assert await recorder.record_spoken(turn(1).trace_id, TOLD) == ["redis"]
    assert await spoken(databases) == [turn(1).trace_id]


async def test_without_both_what_the_voice_measured_is_held_and_then_refused_not_lost(
    recorder: TurnWriter, redis_server: RedisServer, databases: Databases
) -> None:
    redis_server.kill()
    databases.down = True
    await recorder.record(turn(1), SESSION, acted=True)
    assert await recorder.record_spoken(turn(1).trace_id, TOLD) == ["redis", "database"]
    with pytest.raises(Overloaded):
        await recorder.record_spoken(turn(2).trace_id, TOLD)
    databases.down = False
    await recorder.flush()
    assert recorder.held == 0
    assert await written(databases) == [turn(1).trace_id]
    assert await spoken(databases) == [turn(1).trace_id]
