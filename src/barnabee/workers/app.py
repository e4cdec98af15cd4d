"""Puts the worker together: database, Redis, jobs, and health and metrics over HTTP."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from starlette.applications import Starlette

from barnabee.backup import recordings_copy
from barnabee.backup.litestream import txid_asker
from barnabee.core.auth import Access
from barnabee.core.health import Health
from barnabee.core.http import Front, handle_errors, standard_routes
from barnabee.core.metrics import Metrics
from barnabee.core.redis_client import RedisLink
from barnabee.core.schema import System
from barnabee.core.serve import Running
from barnabee.core.settings import Settings, required_credential
from barnabee.store import recordings
from barnabee.store.provider import Keeper
from barnabee.workers import health
from barnabee.workers.backup_metrics import BackupMetrics
from barnabee.workers.backup_monitor import Backups
from barnabee.workers.context import KEY, Context
from barnabee.workers.loop import Loop, make_worker
from barnabee.workers.metrics import JobMetrics, ProbeMetrics
from barnabee.workers.voice_path import VoicePath
from barnabee.workers.voice_probe import Prober

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
    backups: Backups
    path: VoicePath | None = None
    prober: Prober | None = None

    def start_watching(self) -> list[asyncio.Task[None]]:
        """Begin to watch the backups, and to try the voice path if that is wanted."""
        found = [asyncio.create_task(self.backups.run_for_ever(), name="backups")]
        if self.prober is not None:
            found.append(asyncio.create_task(self.prober.run_for_ever(), name="probe"))
        return found

    async def close(self) -> None:
        """Close what was opened."""
        if self.path is not None:
            await self.path.aclose()
        await self.context.keeper.close()
        await self.context.redis.aclose()


async def end(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Cancel tasks that never end by themselves."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


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
    keeper = Keeper(
        settings.database_path,
        busy_timeout_ms=BUSY_TIMEOUT_MS,
        ask_txid=txid_asker(settings),
        lease_dir=settings.lease_dir,
    )
    keeper.start()
    redis = RedisLink(settings.redis_url)
    recorded = settings.data_dir / recordings.FOLDER
    context = Context(
        *(keeper, redis, counted, system.retention, recorded, clock),
        copied_before=partial(recordings_copy.copied_before, system, settings),
    )
    path = prober = None
    if system.probe.every_s:
        path = VoicePath(system, settings, required_credential("api_token"))
        prober = Prober(system.probe, path.ask, path.look, ProbeMetrics.register(metrics))
    checks = health.checks(keeper, redis, counted, prober)
    backups = Backups(system, settings, keeper, BackupMetrics.register(metrics))
    return Parts(context, metrics, Health("worker", checks, metrics), backups, path, prober)


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
        watching = parts.start_watching()
        try:
            yield
        finally:
            loop.stop()
            await end(watching)
            await task
            await parts.close()

    routes = standard_routes(parts.health, parts.metrics)
    front = make_front(parts, Starlette(routes=routes, lifespan=lifespan))
    return Running(front, parts.health, grace_s=HTTP_GRACE_S)
