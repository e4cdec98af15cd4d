from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import barnabee.workers
from barnabee.core.errors import BadRequest
from barnabee.core.metrics import Metrics
from barnabee.store import recordings
from barnabee.store.conversations import Conversations, Fact, Facts, timestamp
from barnabee.store.turn_timings import SpokenTurns
from barnabee.workers.context import Context
from barnabee.workers.health import oldest_age_s
from barnabee.workers.jobs import dumps, loads, options
from barnabee.workers.jobs.expire import expire_old
from barnabee.workers.jobs.record import record_spoken, record_turn, remember_fact
from support.spoken import make_spoken
from support.turns import make_turn

NOW = datetime(2025, 6, 1, 12, 0, tzinfo=UTC)  # as in conftest


async def test_a_turn_is_recorded_once_however_often_the_job_runs(context: Context) -> None:
    for _ in range(3):
        await record_turn(context, make_turn(1).as_dict())

    assert await Conversations(await context.keeper.database()).turns() == [make_turn(1)]
    await context.keeper.close()


async def test_what_the_voice_measured_is_recorded_once_however_often_the_job_runs(
    context: Context,
) -> None:
    spoken = make_spoken(1)
    for _ in range(3):
        await record_spoken(context, spoken.as_dict())

    found = await SpokenTurns(await context.keeper.database()).of([spoken.trace_id])
    assert found == {spoken.trace_id: spoken}
    with pytest.raises(BadRequest):
        await record_spoken(context, {"trace_id": "x"})
    await context.keeper.close()


async def test_a_payload_that_is_no_turn_is_refused(context: Context) -> None:
    with pytest.raises(BadRequest):
        await record_turn(context, {"trace_id": "x"})


async def test_a_fact_is_remembered(context: Context) -> None:
    fact = Fact("a" * 32, None, "bins go out on Monday", b"\x01", "2025")

    await remember_fact(context, fact.as_dict())

    assert await Facts(await context.keeper.database()).all() == [fact]
    await context.keeper.close()


async def test_turns_expire_to_the_day_and_facts_stay(context: Context) -> None:
    limit = NOW - timedelta(days=context.retention.turns_days)
    young = make_turn(1, created_at=timestamp(limit))
    old = make_turn(2, created_at=timestamp(limit - timedelta(milliseconds=1)))
    database = await context.keeper.database()
    for turn in (young, old):
        await Conversations(database).record(turn)
        measured = make_spoken(0, trace_id=turn.trace_id, created_at=turn.created_at)
        await SpokenTurns(database).record(measured)
    await Facts(database).remember(Fact("a" * 32, None, "old but dear", b"", "2001"))

    await expire_old(context, {})

    assert await Conversations(database).turns() == [young]
    assert list(await SpokenTurns(database).of([young.trace_id, old.trace_id])) == [young.trace_id]
    assert len(await Facts(database).all()) == 1
    await context.keeper.close()


async def test_recordings_expire_and_what_is_left_is_counted(
    context: Context, metrics: Metrics
) -> None:
    for days, room in ((context.retention.audio_days + 1, "attic"), (0, "kitchen")):
        day = (NOW - timedelta(days=days)).date()
        path = recordings.path_of(context.recordings_dir, day, room, "a" * 32)
        path.parent.mkdir(parents=True)
        path.write_bytes(b"RIFF")
        os.utime(path, (NOW.timestamp(), NOW.timestamp()))

    await expire_old(context, {})

    (left,) = context.recordings_dir.rglob("*.wav")
    assert left.name.startswith("kitchen-")
    assert metrics.registry.get_sample_value("barnabee_recordings_files") == 1
    assert metrics.registry.get_sample_value("barnabee_recordings_bytes") == 4
    await context.keeper.close()


async def test_no_recordings_are_no_failure(context: Context) -> None:
    await expire_old(context, {})
    await context.keeper.close()


@given(
    st.binary(max_size=50) | st.sampled_from([b"{}", b"[]", b"null", b'{"f": []}', b'{"f":"x"}'])
)
def test_whatever_is_in_the_queue_becomes_a_job_that_is_kept(raw: bytes) -> None:
    assert loads(raw)["f"] == "unreadable"


def test_a_known_job_is_read_as_it_was_written() -> None:
    job = {"t": None, "f": "record_turn", "a": [{"x": 1}], "k": {}, "et": 5}

    assert loads(dumps(job)) == job


def test_no_job_is_ever_dropped_for_its_number_of_tries_or_its_time() -> None:
    chosen = options()

    assert chosen["max_tries"] >= 2**31
    assert all(job.max_tries >= 2**31 for job in chosen["cron_jobs"])
    assert chosen["job_timeout"] > 10


def test_the_age_of_the_oldest_job_is_told() -> None:
    jobs: list[bytes | None] = [
        json.dumps({"et": 90_000}).encode(),
        json.dumps({"et": 40_000}).encode(),
        None,
        b"rubbish",
        b'{"et": "x"}',
    ]

    assert oldest_age_s(jobs, 100.0) == 60.0
    assert oldest_age_s([], 100.0) == 0.0


def test_importing_the_package_reads_no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BARNABEE_SYSTEM", "/nowhere/system.toml")

    with pytest.raises(AttributeError, match="nothing_like_it"):
        barnabee.workers.nothing_like_it  # noqa: B018 - the access is the test
    with pytest.raises(SystemExit) as ended:
        barnabee.workers.WorkerSettings  # noqa: B018 - the access is the test
    assert ended.value.code == 2


def test_arq_finds_its_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://somewhere:1234/5")

    found: Any = barnabee.workers.WorkerSettings

    assert found.redis_settings.port == 1234
    assert {job.__name__ for job in found.functions} >= {"record_turn", "remember_fact"}
