"""Jobs, their serialization, and the entry point of arq's own program."""

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
from barnabee.store.conversations import Conversations, Fact, Facts, format_timestamp
from barnabee.store.turn_timings import TurnTimingsStore
from barnabee.workers.health import oldest_job_age_s
from barnabee.workers.jobs import (
    dump_job,
    expire_old,
    load_job,
    make_arq_options,
    record_spoken,
    record_turn,
    remember_fact,
)
from barnabee.workers.retry import JobContext
from support.turn_records import make_turn, make_turn_timings

NOW = datetime(2025, 6, 1, 12, 0, tzinfo=UTC)  # as in conftest


async def test_a_turn_is_recorded_once_however_often_the_job_runs(context: JobContext) -> None:
    for _ in range(3):
        await record_turn(context, make_turn(1).as_dict())

    assert await Conversations(await context.provider.database()).list_turns() == [make_turn(1)]
    await context.provider.close()


async def test_turn_timings_are_recorded_once_however_often_the_job_runs(
    context: JobContext,
) -> None:
    spoken = make_turn_timings(1)
    for _ in range(3):
        await record_spoken(context, spoken.as_dict())

    found = await TurnTimingsStore(await context.provider.database()).find([spoken.trace_id])
    assert found == {spoken.trace_id: spoken}
    with pytest.raises(BadRequest):
        await record_spoken(context, {"trace_id": "x"})
    await context.provider.close()


async def test_an_invalid_payload_is_refused(context: JobContext) -> None:
    with pytest.raises(BadRequest):
        await record_turn(context, {"trace_id": "x"})


async def test_a_fact_is_stored(context: JobContext) -> None:
    fact = Fact("a" * 32, None, "bins go out on Monday", b"\x01", "2025")

    await remember_fact(context, fact.as_dict())

    assert await Facts(await context.provider.database()).all() == [fact]
    await context.provider.close()


async def test_old_turns_expire_and_facts_stay(context: JobContext) -> None:
    limit = NOW - timedelta(days=context.retention.turns_days)
    young = make_turn(1, created_at=format_timestamp(limit))
    old = make_turn(2, created_at=format_timestamp(limit - timedelta(milliseconds=1)))
    database = await context.provider.database()
    for turn in (young, old):
        await Conversations(database).record(turn)
        measured = make_turn_timings(0, trace_id=turn.trace_id, created_at=turn.created_at)
        await TurnTimingsStore(database).record(measured)
    await Facts(database).remember(Fact("a" * 32, None, "old but dear", b"", "2001"))

    await expire_old(context, {})

    assert await Conversations(database).list_turns() == [young]
    assert list(await TurnTimingsStore(database).find([young.trace_id, old.trace_id])) == [
        young.trace_id
    ]
    assert len(await Facts(database).all()) == 1
    await context.provider.close()


async def test_old_recordings_expire_and_the_rest_is_counted(
    context: JobContext, metrics: Metrics
) -> None:
    for days, room in ((context.retention.audio_days + 1, "attic"), (0, "kitchen")):
        day = (NOW - timedelta(days=days)).date()
        path = recordings.recording_path(context.recordings_dir, day, room, "a" * 32)
        path.parent.mkdir(parents=True)
        path.write_bytes(b"RIFF")
        os.utime(path, (NOW.timestamp(), NOW.timestamp()))

    await expire_old(context, {})

    (left,) = context.recordings_dir.rglob("*.wav")
    assert left.name.startswith("kitchen-")
    assert metrics.registry.get_sample_value("barnabee_recordings_files") == 1
    assert metrics.registry.get_sample_value("barnabee_recordings_bytes") == 4
    await context.provider.close()


async def test_expiry_without_recordings_succeeds(context: JobContext) -> None:
    await expire_old(context, {})
    await context.provider.close()


@given(
    st.binary(max_size=50) | st.sampled_from([b"{}", b"[]", b"null", b'{"f": []}', b'{"f":"x"}'])
)
def test_an_unreadable_job_is_not_dropped(raw: bytes) -> None:
    assert load_job(raw)["f"] == "unreadable"


def test_a_job_survives_serialization() -> None:
    job = {"t": None, "f": "record_turn", "a": [{"x": 1}], "k": {}, "et": 5}

    assert load_job(dump_job(job)) == job


def test_jobs_are_not_dropped_by_number_of_tries_or_duration() -> None:
    options = make_arq_options()

    assert options["max_tries"] >= 2**31
    assert all(job.max_tries >= 2**31 for job in options["cron_jobs"])
    assert options["job_timeout"] > 10


def test_the_age_of_the_oldest_job() -> None:
    jobs: list[bytes | None] = [
        json.dumps({"et": 90_000}).encode(),
        json.dumps({"et": 40_000}).encode(),
        None,
        b"rubbish",
        b'{"et": "x"}',
    ]

    assert oldest_job_age_s(jobs, 100.0) == 60.0
    assert oldest_job_age_s([], 100.0) == 0.0


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
