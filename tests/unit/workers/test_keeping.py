from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from arq import Retry
from hypothesis import given
from hypothesis import strategies as st

from barnabee.core import trace_context
from barnabee.core.errors import DatabaseFull, DatabaseReadOnly, Overloaded, SettingInvalid
from barnabee.core.metrics import Metrics
from barnabee.workers.context import KEY, Context
from barnabee.workers.jobs import retry
from barnabee.workers.jobs.retry import LONGEST_PAUSE_S, kept, pause_s

PAYLOAD = {"trace_id": "a" * 32}


def arq_context(context: Context, attempt: int = 1) -> dict[Any, Any]:
    return {KEY: context, "job_try": attempt, "job_id": "job-1"}


@given(st.integers(1, 10**9))
def test_pauses_grow_and_never_pass_the_limit(attempt: int) -> None:
    assert 0 < pause_s(attempt) <= pause_s(attempt + 1) <= LONGEST_PAUSE_S


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
async def test_what_may_pass_is_tried_again_at_any_attempt(
    context: Context, shelf: Any, error: Exception
) -> None:
    async def failing(_context: Context, _payload: dict[str, Any]) -> None:
        raise error

    for attempt in (1, 1000):
        with pytest.raises(Retry):
            await kept(failing)(arq_context(context, attempt), PAYLOAD)
    assert shelf.held == {}


async def test_a_job_that_hangs_is_tried_again(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hanging(_context: Context, _payload: dict[str, Any]) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(retry, "ATTEMPT_LIMIT_S", 0.01)
    with pytest.raises(Retry):
        await kept(hanging)(arq_context(context), PAYLOAD)


async def test_a_mistake_in_the_program_sets_the_job_aside(
    context: Context, shelf: Any, metrics: Metrics
) -> None:
    async def broken(_context: Context, _payload: dict[str, Any]) -> None:
        raise ZeroDivisionError

    await kept(broken)(arq_context(context), PAYLOAD)

    note = json.loads(shelf.held["job-1"])
    assert note["payload"] == PAYLOAD
    assert note["code"] == "internal"
    assert 'barnabee_jobs_failed_total{code="internal",name="broken"} 1.0' in (
        metrics.render().decode()
    )


async def test_a_job_that_cannot_even_be_set_aside_is_tried_again(
    context: Context, shelf: Any
) -> None:
    async def broken(_context: Context, _payload: dict[str, Any]) -> None:
        raise ZeroDivisionError

    shelf.down = True
    with pytest.raises(Retry):
        await kept(broken)(arq_context(context), PAYLOAD)


async def test_a_cancelled_job_stays_cancelled_so_that_arq_runs_it_again(context: Context) -> None:
    async def cancelled(_context: Context, _payload: dict[str, Any]) -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await kept(cancelled)(arq_context(context), PAYLOAD)


@pytest.mark.parametrize("payload", [PAYLOAD, {}, {"trace_id": 7}, None])
async def test_a_job_carries_the_trace_id_of_its_payload(context: Context, payload: Any) -> None:
    seen: list[str] = []

    async def looking(_context: Context, _payload: dict[str, Any]) -> None:
        seen.append(trace_context.current())

    await kept(looking)(arq_context(context), payload)

    assert seen == [PAYLOAD["trace_id"] if payload == PAYLOAD else ""]
