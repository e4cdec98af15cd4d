"""Runs a job so that it is never lost.

What may pass by itself or by mending the machine (the database is locked, read-only, full, its
disk not mounted) is tried again for as long as it takes, with growing pauses. What no repetition
mends (a payload that is not one, a job nobody knows, a mistake in the program) is set aside in
Redis, counted and logged, for a person to look at. Everything here may happen twice: a worker
killed between the write and the receipt does the job again.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any

import structlog
from arq import Retry
from arq.typing import WorkerCoroutine

from barnabee.core import trace_context
from barnabee.core.errors import BadRequest, BarnabeeError, Misconfigured, Unavailable
from barnabee.workers.context import KEY, Context

SET_ASIDE = "barnabee:set-aside"
ATTEMPT_LIMIT_S = 10
FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 5.0

Job = Callable[[Context, dict[str, Any]], Awaitable[None]]

log = structlog.get_logger()


def pause_s(attempt: int) -> float:
    """Return how long to wait after the `attempt`-th failure (1, 2, …): doubling up to a limit."""
    doublings = min(attempt - 1, 10)
    return min(FIRST_PAUSE_S * 2.0**doublings, LONGEST_PAUSE_S)


def kept(job: Job) -> WorkerCoroutine:
    """Return `job` as arq calls it, which ends done, to be tried again, or set aside."""
    name = job.__name__

    @wraps(job)
    async def run(ctx: dict[Any, Any], payload: dict[str, Any]) -> None:
        context: Context = ctx[KEY]
        trace_context.trace_id_var.set(_trace_id(payload))
        begun = time.perf_counter()
        try:
            async with asyncio.timeout(ATTEMPT_LIMIT_S):
                await job(context, payload)
        except (Unavailable, Misconfigured, OSError) as error:  # TimeoutError is an OSError
            code = _failed(context, name, error)
            log.warning("job_waits", job=name, code=code, reason=str(error), attempt=ctx["job_try"])
            raise Retry(pause_s(ctx["job_try"])) from error
        except Exception as error:  # a supervisor: whatever it was, the job must not be lost by it
            code = _failed(context, name, error)
            log.exception("job_set_aside", job=name, code=code)
            await _set_aside(context, ctx, name, payload, code)
        else:
            context.metrics.done.labels(name).inc()
            latency_ms = round((time.perf_counter() - begun) * 1000, 2)
            log.info("job_done", job=name, latency_ms=latency_ms, attempt=ctx["job_try"])
        finally:
            context.metrics.seconds.labels(name).observe(time.perf_counter() - begun)

    return run


async def unreadable(_context: Context, _payload: dict[str, Any]) -> None:
    """Stand for a job that this program cannot read or does not know."""
    raise BadRequest(field="job", reason="this program cannot read it or does not know its name")


def _failed(context: Context, name: str, error: Exception) -> str:
    code = "timed_out" if isinstance(error, TimeoutError) else BarnabeeError.code
    if isinstance(error, BarnabeeError):
        code = error.code
    context.metrics.failed.labels(name, code).inc()
    return code


async def _set_aside(
    context: Context, ctx: dict[Any, Any], name: str, payload: dict[str, Any], code: str
) -> None:
    note = {"job": name, "code": code, "at": context.clock().isoformat(), "payload": payload}
    try:
        await context.redis.command("HSET", SET_ASIDE, ctx["job_id"], json.dumps(note))
    except Unavailable as error:
        raise Retry(pause_s(ctx["job_try"])) from error


def _trace_id(payload: object) -> str:
    found = payload.get("trace_id") if isinstance(payload, dict) else None
    return found if isinstance(found, str) else ""
