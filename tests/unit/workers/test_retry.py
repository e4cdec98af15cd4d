"""Retries and dead letters of jobs."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from arq import Retry

from barnabee.core import tracing
from barnabee.core.errors import DatabaseFull, DatabaseReadOnly, Overloaded, SettingInvalid
from barnabee.core.metrics import Metrics
from barnabee.core.spans import export_spans
from barnabee.workers import retry
from barnabee.workers.retry import (
    CONTEXT_KEY,
    FIRST_BACKOFF_S,
    MAX_BACKOFF_S,
    JobContext,
    with_retry,
)
from support.otlp import run_receiver

PAYLOAD = {"trace_id": "a" * 32}


def arq_context(context: JobContext, attempt: int = 1) -> dict[Any, Any]:
    return {CONTEXT_KEY: context, "job_try": attempt, "job_id": "job-1"}


@pytest.mark.parametrize(
    "error",
    [
        DatabaseReadOnly(path="x"),
        DatabaseFull(path="x"),
        Overloaded(what="the database"),
        SettingInvalid(name="DATABASE_PATH", reason="missing", hint="mount"),
        PermissionError("no"),
        TimeoutError(),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_transient_errors_are_retried_at_any_attempt_within_the_limit(
    context: JobContext, redis: Any, error: Exception
) -> None:
    async def failing(_context: JobContext, _payload: dict[str, Any]) -> None:
        raise error

    for attempt, pause_s in ((1, FIRST_BACKOFF_S), (1000, MAX_BACKOFF_S)):
        with pytest.raises(Retry) as raised:
            await with_retry(failing)(arq_context(context, attempt), PAYLOAD)
        assert raised.value.defer_score == pause_s * 1000
    assert redis.dead_letters == {}


async def test_a_hanging_job_is_retried(
    context: JobContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hanging(_context: JobContext, _payload: dict[str, Any]) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(retry, "ATTEMPT_LIMIT_S", 0.01)
    with pytest.raises(Retry):
        await with_retry(hanging)(arq_context(context), PAYLOAD)


async def test_a_bug_sends_the_job_to_the_dead_letters(
    context: JobContext, redis: Any, metrics: Metrics
) -> None:
    async def broken(_context: JobContext, _payload: dict[str, Any]) -> None:
        raise ZeroDivisionError

    await with_retry(broken)(arq_context(context), PAYLOAD)

    letter = json.loads(redis.dead_letters["job-1"])
    assert letter["payload"] == PAYLOAD
    assert letter["code"] == "internal"
    assert 'barnabee_jobs_failed_total{code="internal",name="broken"} 1.0' in (
        metrics.render().decode()
    )


async def test_a_job_that_cannot_be_dead_lettered_is_retried(
    context: JobContext, redis: Any
) -> None:
    async def broken(_context: JobContext, _payload: dict[str, Any]) -> None:
        raise ZeroDivisionError

    redis.down = True
    with pytest.raises(Retry):
        await with_retry(broken)(arq_context(context), PAYLOAD)


async def test_a_cancelled_job_stays_cancelled_so_that_arq_repeats_it(context: JobContext) -> None:
    async def cancelled(_context: JobContext, _payload: dict[str, Any]) -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await with_retry(cancelled)(arq_context(context), PAYLOAD)


@pytest.mark.parametrize("payload", [PAYLOAD, {}, {"trace_id": 7}, None])
async def test_a_job_runs_with_the_trace_id_of_its_payload(
    context: JobContext, payload: Any
) -> None:
    seen: list[str] = []

    async def capture(_context: JobContext, _payload: dict[str, Any]) -> None:
        seen.append(tracing.get_trace_id())

    await with_retry(capture)(arq_context(context), payload)

    assert seen == [PAYLOAD["trace_id"] if payload == PAYLOAD else ""]


async def test_the_span_of_a_failed_job_has_its_code(context: JobContext) -> None:
    async def failing(_context: JobContext, _payload: dict[str, Any]) -> None:
        raise DatabaseFull(path="x")

    with run_receiver() as received, export_spans("worker", received.url), pytest.raises(Retry):
        await with_retry(failing)(arq_context(context), PAYLOAD)
    (span,) = received.spans
    assert (span.name, span.trace_id, span.failed) == ("failing", PAYLOAD["trace_id"], True)
    assert span.attributes == {"barnabee.code": DatabaseFull.code}
