"""Job execution with retries and dead letters, so that no job is lost.

Transient errors, and errors that an operator can fix (the database is locked, read-only, full, or
not mounted), are retried without limit and with back-off. Permanent failures (an invalid payload,
an unknown job, a bug) go to the dead-letter list in Redis and are counted and logged. Jobs must be
idempotent: a worker killed after the write but before the acknowledgement runs the job again.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from functools import wraps
from pathlib import Path
from typing import Any

import structlog
from arq import Retry
from arq.typing import WorkerCoroutine

from barnabee.core import tracing
from barnabee.core.errors import BadRequest, BarnabeeError, Misconfigured, Unavailable
from barnabee.core.rate_limit import backoff_s
from barnabee.core.redis_client import RedisClient
from barnabee.core.schema import RetentionConfig
from barnabee.store.provider import DatabaseProvider
from barnabee.workers.metrics import JobMetrics

DEAD_LETTERS = "barnabee:set-aside"  # Redis hash: job id -> JSON; the key predates the name
CONTEXT_KEY = "barnabee"  # of the JobContext in arq's own context
ATTEMPT_LIMIT_S = 10
FIRST_BACKOFF_S = 0.25
MAX_BACKOFF_S = 5.0

log = structlog.get_logger()


@dataclass(frozen=True)
class JobContext:
    """Dependencies of the jobs."""

    provider: DatabaseProvider
    redis: RedisClient
    metrics: JobMetrics
    retention: RetentionConfig
    recordings_dir: Path
    clock: Callable[[], datetime]
    # Recordings written after this time are not deleted yet; None: no such limit.
    copied_before: Callable[[], datetime | None] = lambda: None
    ring_due: Callable[[], Awaitable[None]] = lambda: asyncio.sleep(0)


JobFunction = Callable[[JobContext, dict[str, Any]], Awaitable[None]]


def with_retry(job: JobFunction) -> WorkerCoroutine:
    """Wrap `job` for arq: an attempt succeeds, raises `Retry`, or becomes a dead letter."""
    name = job.__name__

    @wraps(job)
    async def run(ctx: dict[Any, Any], payload: dict[str, Any]) -> None:
        context: JobContext = ctx[CONTEXT_KEY]
        tracing.trace_id_var.set(_trace_id(payload))
        span, code, started = tracing.start_root_span(name), "", time.perf_counter()
        try:
            async with asyncio.timeout(ATTEMPT_LIMIT_S):
                await job(context, payload)
        except (Unavailable, Misconfigured, OSError) as error:  # TimeoutError is an OSError
            code = _count_failure(context, name, error)
            log.warning("job_waits", job=name, code=code, reason=str(error), attempt=ctx["job_try"])
            raise _make_retry(ctx) from error
        except Exception as error:  # a supervisor: no error may lose the job
            code = _count_failure(context, name, error)
            log.exception("job_dead_lettered", job=name, code=code)
            await _dead_letter(context, ctx, name, payload, code)
        else:
            context.metrics.done.labels(name).inc()
            latency_ms = round((time.perf_counter() - started) * 1000, 2)
            log.info("job_done", job=name, latency_ms=latency_ms, attempt=ctx["job_try"])
        finally:
            context.metrics.seconds.labels(name).observe(time.perf_counter() - started)
            if span is not None:
                tracing.describe_span(span, {"code": code})
                span.end()

    return run


async def unreadable(_context: JobContext, _payload: dict[str, Any]) -> None:
    """Run in place of a job that cannot be decoded or is unknown; always fails."""
    raise BadRequest(field="job", reason="this program cannot read it or does not know its name")


def _make_retry(ctx: dict[Any, Any]) -> Retry:
    return Retry(backoff_s(ctx["job_try"], FIRST_BACKOFF_S, MAX_BACKOFF_S))


def _count_failure(context: JobContext, name: str, error: Exception) -> str:
    """Count the failure under its error code; return the code."""
    code = "timed_out" if isinstance(error, TimeoutError) else BarnabeeError.code
    if isinstance(error, BarnabeeError):
        code = error.code
    context.metrics.failed.labels(name, code).inc()
    return code


async def _dead_letter(
    context: JobContext, ctx: dict[Any, Any], name: str, payload: dict[str, Any], code: str
) -> None:
    letter = {"job": name, "code": code, "at": context.clock().isoformat(), "payload": payload}
    try:
        await context.redis.execute_command("HSET", DEAD_LETTERS, ctx["job_id"], json.dumps(letter))
    except Unavailable as error:
        raise _make_retry(ctx) from error


def _trace_id(payload: object) -> str:
    trace_id = payload.get("trace_id") if isinstance(payload, dict) else None
    return trace_id if isinstance(trace_id, str) else ""
