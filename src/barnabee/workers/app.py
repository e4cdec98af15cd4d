"""Puts the worker together: database, Redis, jobs, and health and metrics over HTTP."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from starlette.applications import Starlette

from barnabee.core.access import Access
from barnabee.core.health import Health
from barnabee.core.http import Front, handle_errors, standard_routes
from barnabee.core.metrics import Metrics
from barnabee.core.redis_link import RedisLink
from barnabee.core.serve import Running
from barnabee.core.settings import Settings, required_credential
from barnabee.core.tables import System
from barnabee.store.keeper import Keeper
from barnabee.workers import health
from barnabee.workers.context import KEY, Context
from barnabee.workers.loop import Loop, make_worker
from barnabee.workers.metrics import JobMetrics

# Shorter than elsewhere, so that the service can stop in time while somebody holds the lock; the
# job is tried again anyway.
BUSY_TIMEOUT_MS = 1000
# Only health and metrics are asked for; the time to stop belongs to the job in hand.
HTTP_GRACE_S = 1


@dataclass(frozen=True)
class Parts:
    """The worker without its loop."""

    context: Context
    metrics: Metrics
    health: Health

    async def close(self) -> None:
        """Close what was opened."""
        await self.context.keeper.close()
        await self.context.redis.aclose()


def make_parts(
    system: System,
    settings: Settings,
    *,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Parts:
    """Make the parts; raises what no waiting mends (a damaged or newer database)."""
    logging.getLogger("arq").setLevel(logging.WARNING)  # its lines below that hold what was said
    metrics = Metrics("worker")
    counted = JobMetrics.register(metrics)
    keeper = Keeper(settings.database_path, busy_timeout_ms=BUSY_TIMEOUT_MS)
    keeper.start()
    redis = RedisLink(settings.redis_url)
    audio = settings.data_dir / "audio"
    context = Context(keeper, redis, counted, system.retention, audio, clock)
    checks = health.checks(keeper, redis, counted)
    return Parts(context, metrics, Health("worker", checks, metrics))


def make_front(parts: Parts, app: Starlette) -> Front:
    """Return what answers over HTTP."""
    handle_errors(app)
    return Front(app, parts.metrics, Access(required_credential("api_token")))


def build(system: System, settings: Settings) -> Running:
    """Return the worker as `core.serve` runs it: the loop lives as long as the HTTP server."""
    parts = make_parts(system, settings)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        loop = Loop(lambda: make_worker(settings.redis_url, {KEY: parts.context}))
        task = asyncio.create_task(loop.run(), name="jobs")
        try:
            yield
        finally:
            loop.stop()
            await task
            await parts.close()

    routes = standard_routes(parts.health, parts.metrics)
    front = make_front(parts, Starlette(routes=routes, lifespan=lifespan))
    return Running(front, parts.health, grace_s=HTTP_GRACE_S)
