"""The jobs by the names under which they are enqueued, and arq's options for them."""

from __future__ import annotations

import json
from typing import Any

from arq import cron
from arq.cron import CronJob
from arq.typing import WorkerCoroutine

from barnabee.workers.jobs.expire import expire_old
from barnabee.workers.jobs.record import record_spoken, record_turn, remember_fact
from barnabee.workers.jobs.retry import ATTEMPT_LIMIT_S, kept, unreadable

# Written by arq's own loop every 2 s and gone 3 s later: there as long as jobs are looked for.
HEARTBEAT = "barnabee:heartbeat:worker"
MAX_TRIES = 2**31

_JOBS = (record_turn, record_spoken, remember_fact, unreadable)

FUNCTIONS: tuple[WorkerCoroutine, ...] = tuple(kept(job) for job in _JOBS)
_KNOWN = frozenset(job.__name__ for job in _JOBS)


async def _expire_old(ctx: dict[Any, Any]) -> None:
    await kept(expire_old)(ctx, {})


def cron_jobs() -> list[CronJob]:
    """Return what is done by the clock; new objects each time, because they hold their next run."""
    return [
        cron(
            _expire_old,
            name="expire_old",
            job_id="expire_old",  # one in the queue at most, however often the worker starts
            minute=17,  # of every hour: a recording is not to be kept longer than was promised
            run_at_startup=True,
            max_tries=MAX_TRIES,
        )
    ]


def options() -> dict[str, Any]:
    """Return arq's options, the same however the worker is started."""
    return {
        "functions": FUNCTIONS,
        "cron_jobs": cron_jobs(),
        # arq drops a job after so many attempts or so much time; ours are never dropped:
        # `keeping` ends each attempt well before and asks for another.
        "max_tries": MAX_TRIES,
        "job_timeout": ATTEMPT_LIMIT_S * 2,
        "keep_result": 0,
        # A recorded turn is visible this soon; 10 looks a second cost under 1 % of a core.
        "poll_delay": 0.1,
        "max_jobs": 10,
        "health_check_key": HEARTBEAT,
        "health_check_interval": 2,
        "job_serializer": dumps,
        "job_deserializer": loads,
        "log_results": False,
    }


def dumps(job: dict[str, Any]) -> bytes:
    """Return a job's text; an exception in a result becomes its words."""
    return json.dumps(job, default=str).encode()


def loads(raw: bytes) -> dict[str, Any]:
    """Return the job of a text; arq would drop what it cannot read or does not know, we do not."""
    try:
        job = json.loads(raw)
        if job["f"] in _KNOWN or job["f"] == "expire_old":
            return {key: job[key] for key in ("t", "f", "a", "k", "et")}
    except (ValueError, TypeError, KeyError):
        pass
    text = raw.decode("utf-8", "backslashreplace")
    return {"t": None, "f": "unreadable", "a": [{"text": text}], "k": {}, "et": 0}
