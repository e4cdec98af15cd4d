from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from barnabee.api.turn_recorder import DatabaseFactMemory
from barnabee.clients.queue import JOB_KEY_PREFIX, JobQueue
from barnabee.core import trace_context
from barnabee.core.errors import DatabaseReadOnly, DependencyDown
from barnabee.core.redis_client import RedisClient
from barnabee.store.conversations import Fact
from barnabee.store.db import Database, open_database
from barnabee.testing.gpu import make_vector
from support.redis import RedisServer

KEY = "the spare key is under the mat"


class Databases:
    def __init__(self, database: Database) -> None:
        self._database = database
        self.down = False

    async def database(self) -> Database:
        if self.down:
            raise DatabaseReadOnly(path="x")
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
def memory(link: RedisClient, databases: Databases) -> DatabaseFactMemory:
    return DatabaseFactMemory(JobQueue(link), databases, lambda: datetime(2026, 1, 1, tzinfo=UTC))


async def test_a_fact_is_there_for_the_next_sentence(memory: DatabaseFactMemory) -> None:
    trace_context.adopt_trace_id(None)
    assert await memory.remember(KEY, make_vector(KEY), "Emma") == []
    found = await memory.facts()
    assert [fact.text for fact in found] == [KEY]
    assert found[0].vector is not None
    np.testing.assert_array_equal(found[0].vector, make_vector(KEY))


async def test_a_fact_without_a_vector_is_kept_too(memory: DatabaseFactMemory) -> None:
    trace_context.adopt_trace_id(None)
    await memory.remember(KEY, None, None)
    assert [(fact.text, fact.vector) for fact in await memory.facts()] == [(KEY, None)]


async def test_a_database_that_takes_nothing_leaves_the_fact_to_the_worker(
    memory: DatabaseFactMemory, databases: Databases, link: RedisClient
) -> None:
    trace_id = trace_context.adopt_trace_id(None)
    databases.down = True
    assert await memory.remember(KEY, make_vector(KEY), "Emma") == ["database"]
    job = json.loads(await link.command("GET", f"{JOB_KEY_PREFIX}fact-{trace_id}"))
    assert job["f"] == "remember_fact"
    assert Fact.from_dict(job["a"][0]).text == KEY


async def test_a_fact_that_nothing_takes_is_not_confirmed(
    memory: DatabaseFactMemory, databases: Databases, redis_server: RedisServer
) -> None:
    trace_context.adopt_trace_id(None)
    databases.down = True
    redis_server.kill()
    with pytest.raises(DependencyDown):
        await memory.remember(KEY, None, None)
