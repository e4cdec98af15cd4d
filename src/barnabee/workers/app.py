"""Worker service: its parts, health and metrics, and `WorkerSettings` for arq's own program."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

import uvicorn
from arq.connections import RedisSettings
from starlette.applications import Starlette

from barnabee.backup import recordings_copy
from barnabee.backup.litestream import make_txid_reader
from barnabee.backup.restore_points import make_migration_hook
from barnabee.clients.queue import JobQueue
from barnabee.clients.service_client import ServiceClient, VoiceClient, make_service_url
from barnabee.core import serve
from barnabee.core.auth import make_token_reader, open_authenticator
from barnabee.core.errors import BarnabeeError
from barnabee.core.health import HealthMonitor
from barnabee.core.http import ServiceMiddleware, add_error_handlers, make_standard_routes
from barnabee.core.logging import configure_logging
from barnabee.core.metrics import Metrics
from barnabee.core.redis_client import RedisClient, add_password
from barnabee.core.schema import System
from barnabee.core.serve import ServiceApp
from barnabee.core.settings import Settings, read_settings
from barnabee.core.system import load_system
from barnabee.core.tokens import Scope
from barnabee.store import recordings
from barnabee.store.fence import with_current_epoch
from barnabee.store.provider import DatabaseProvider
from barnabee.workers import health
from barnabee.workers.backups import BackupMonitor
from barnabee.workers.jobs import (
    FINISH_S,
    WorkerLoop,
    make_arq_options,
    make_worker,
    release_claims,
)
from barnabee.workers.metrics import BackupMetrics, JobMetrics, ProbeMetrics, ScheduleMetrics
from barnabee.workers.retry import CONTEXT_KEY, JobContext
from barnabee.workers.ring_scheduler import RingScheduler, RingTargets
from barnabee.workers.voice_probe import ProbeClient, VoiceProber

# Shorter than elsewhere, so that the service can stop in time while another process holds the
# lock; the job is retried anyway.
BUSY_TIMEOUT_MS = 1000
HTTP_GRACE_S = 1  # only for health and metrics: the time to stop belongs to the running job


@dataclass(frozen=True)
class WorkerParts:
    """Parts of the worker apart from its job loop."""

    context: JobContext
    metrics: Metrics
    health: HealthMonitor
    backups: BackupMonitor
    rings: RingScheduler
    clients: Sequence[ServiceClient]
    probe_client: ProbeClient | None = None
    prober: VoiceProber | None = None

    def start_monitoring(self) -> list[asyncio.Task[None]]:
        """Start the tasks that ring timers, monitor backups and probe the voice path."""
        tasks = [
            asyncio.create_task(self.rings.run_for_ever(), name="rings"),
            asyncio.create_task(self.backups.run_for_ever(), name="backups"),
        ]
        if self.prober is not None:
            tasks.append(asyncio.create_task(self.prober.run_for_ever(), name="probe"))
        return tasks

    async def close(self) -> None:
        if self.probe_client is not None:
            await self.probe_client.aclose()
        for client in self.clients:
            await client.aclose()
        await self.context.provider.close()
        await self.context.redis.aclose()


async def cancel_tasks(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Cancel tasks and wait for their end."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def make_parts(
    system: System,
    settings: Settings,
    *,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> WorkerParts:
    """Create the parts; raises permanent errors, such as a damaged or too new database."""
    logging.getLogger("arq").setLevel(logging.WARNING)  # its info lines contain utterances
    system = with_current_epoch(system)
    metrics = Metrics("worker")
    job_metrics = JobMetrics.register(metrics)
    provider = DatabaseProvider(
        settings.database_path,
        busy_timeout_ms=BUSY_TIMEOUT_MS,
        before_migration=make_migration_hook(make_txid_reader(settings)),
        lease_dir=settings.lease_dir,
    )
    provider.prepare()
    redis = RedisClient(add_password(settings.redis_url, "worker"))
    recordings_dir = settings.data_dir / recordings.FOLDER
    clients = make_clients(system, settings)
    rings = make_ring_scheduler(system, provider, redis, clients, ScheduleMetrics.register(metrics))
    context = JobContext(
        *(provider, redis, job_metrics, system.retention, recordings_dir, clock),
        copied_before=partial(recordings_copy.copied_before, system, settings),
        ring_due=rings.ring_due,
    )
    client = prober = None
    if system.probe.every_s:
        talk, infer = make_token_reader(Scope.TALK), make_token_reader(Scope.INFER)
        client = ProbeClient(system, settings, talk=talk, infer=infer)
        probe_metrics = ProbeMetrics.register(metrics)
        prober = VoiceProber(system.probe, client.run_probe, client.read_activity, probe_metrics)
    checks = health.make_checks(provider, redis, job_metrics, prober)
    backups = BackupMonitor(system, settings, provider, BackupMetrics.register(metrics))
    monitor = HealthMonitor("worker", checks, metrics)
    return WorkerParts(
        context, metrics, monitor, backups, rings, list(clients.values()), client, prober
    )


def make_clients(system: System, settings: Settings) -> dict[str, ServiceClient]:
    """Return clients of the api and, where there is one, of the voice service."""
    urls = {"api": settings.api_url}
    if "voice" in system.service:
        port = system.service["voice"].port
        urls["voice"] = make_service_url(settings.voice_url, settings.bind, port)
    talk = make_token_reader(Scope.TALK)
    return {name: ServiceClient(name, url, talk) for name, url in urls.items()}


def make_ring_scheduler(
    system: System,
    provider: DatabaseProvider,
    redis: RedisClient,
    clients: Mapping[str, ServiceClient],
    metrics: ScheduleMetrics,
) -> RingScheduler:
    """Return the scheduler of timers, alarms and reminders."""
    voice = VoiceClient(clients["voice"]) if "voice" in clients else None
    targets = RingTargets(voice, clients["api"])
    return RingScheduler(provider, JobQueue(redis), targets, system.schedule, metrics)


def make_front(parts: WorkerParts, app: Starlette) -> ServiceMiddleware:
    """Wrap `app` with authentication, metrics and error handlers."""
    add_error_handlers(app)
    return ServiceMiddleware(app, parts.metrics, open_authenticator())


def build_worker(system: System, settings: Settings) -> ServiceApp:
    """Return the service for `core.serve`; the job loop runs as long as the HTTP server."""
    parts = make_parts(system, settings)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        url = add_password(settings.redis_url, "worker")
        loop = WorkerLoop(lambda: make_worker(url, {CONTEXT_KEY: parts.context}))
        task = asyncio.create_task(loop.run(), name="jobs")
        monitoring = parts.start_monitoring()
        try:
            yield
        finally:
            loop.stop()
            await cancel_tasks(monitoring)
            await task
            await parts.close()

    routes = make_standard_routes(parts.health, parts.metrics)
    front = make_front(parts, Starlette(routes=routes, lifespan=lifespan))
    return ServiceApp(front, parts.health, shutdown_grace_s=HTTP_GRACE_S)


class _HttpServer(uvicorn.Server):
    """HTTP server that leaves signal handling to arq."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def make_worker_settings() -> type:
    """Return the class that arq's own program reads; exits with the error's status on bad settings.

    Unlike `python -m barnabee.workers`, that program exits when Redis stays unreachable, and its
    supervisor must restart it.
    """
    try:
        system = load_system()
        settings = read_settings(system)
    except BarnabeeError as error:
        serve.exit_with_error(error)
    attributes = {
        **make_arq_options(),
        "redis_settings": RedisSettings.from_dsn(add_password(settings.redis_url, "worker")),
        "job_completion_wait": FINISH_S,
        "on_startup": _ArqService(system, settings).start,
        "on_shutdown": _stop_arq_service,
    }
    return type("WorkerSettings", (), attributes)


class _ArqService:
    """Health and metrics beside arq's loop."""

    def __init__(self, system: System, settings: Settings) -> None:
        self._system = system
        self._settings = settings

    async def start(self, ctx: dict[Any, Any]) -> None:
        """Start the parts; arq calls this before it processes jobs."""
        logging.getLogger("arq").handlers.clear()  # they write plain text, the service writes JSON
        configure_logging("worker", level=self._settings.log_level)
        try:
            parts = make_parts(self._system, self._settings)
            port = self._system.port("worker")
            listener = serve.bind_socket("worker", self._settings.bind, port)
        except BarnabeeError as error:
            serve.exit_with_error(error)
        app = Starlette(routes=make_standard_routes(parts.health, parts.metrics))
        front = make_front(parts, app)
        server = _HttpServer(
            uvicorn.Config(front, log_config=None, access_log=False, lifespan="off")
        )
        ctx[CONTEXT_KEY] = parts.context
        ctx["parts"] = parts
        ctx["server"] = server
        ctx["tasks"] = [
            asyncio.create_task(server.serve(sockets=[listener]), name="http"),
            asyncio.create_task(serve.monitor_health(parts.health), name="watch"),
        ]
        ctx["monitoring"] = parts.start_monitoring()
        await release_claims(ctx)


async def _stop_arq_service(ctx: dict[Any, Any]) -> None:
    server: _HttpServer = ctx["server"]
    parts: WorkerParts = ctx["parts"]
    http, watch = ctx["tasks"]
    watch.cancel()
    await cancel_tasks(ctx["monitoring"])
    server.should_exit = True
    await asyncio.gather(http, watch, return_exceptions=True)
    await parts.close()
