"""App factory of the api: builds the components that are configured; others are None."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.routing import Mount

from barnabee import __version__
from barnabee.api import health, static_files
from barnabee.api.assistant import (
    DatabaseSchedule,
    HomeClock,
    make_command_services,
    make_zone_reader,
)
from barnabee.api.cascade import Cascade, HealthSources
from barnabee.api.command_handler import CommandHandler, CommandMetrics
from barnabee.api.embedding_cache import EmbeddingCache
from barnabee.api.language_model import make_llm_client
from barnabee.api.log_reader import TurnLogReader
from barnabee.api.routes import (
    backups,
    commands,
    gpu,
    login,
    notifications,
    status,
    turns,
    voice_offer,
)
from barnabee.api.service import (
    ApiService,
    GpuService,
    HomeAssistantService,
    Overrides,
    make_clients,
)
from barnabee.api.static_files import DashboardFiles
from barnabee.api.status_watcher import StatusWatcher, make_alert_reader
from barnabee.api.turn_recorder import DatabaseFactMemory, TurnWriter
from barnabee.api.web_sessions import LoginLinks, WebSessions
from barnabee.backup.litestream import check_replica, make_txid_reader
from barnabee.backup.restore_points import make_migration_hook
from barnabee.clients.alertmanager import AlertmanagerClient
from barnabee.clients.gpu import GpuClient, ModelNames
from barnabee.clients.home_assistant import HomeAssistant
from barnabee.clients.queue import JobQueue
from barnabee.clients.service_client import VoiceClient
from barnabee.core.auth import RouteScopes, make_token_reader, open_authenticator
from barnabee.core.health import HealthMonitor, HealthProbe
from barnabee.core.http import (
    PUBLIC_PATHS,
    ServiceMiddleware,
    add_error_handlers,
    make_standard_routes,
)
from barnabee.core.metrics import Metrics
from barnabee.core.rate_limit import make_command_limiter, make_login_limiter
from barnabee.core.redis_client import RedisClient, add_password
from barnabee.core.schema import System
from barnabee.core.serve import ServiceApp
from barnabee.core.settings import Settings, read_credential, require_credential
from barnabee.core.tokens import Scope
from barnabee.store.fence import with_current_epoch
from barnabee.store.provider import DatabaseProvider
from barnabee.store.sessions import Sessions
from barnabee.understanding.intent_recognizer import IntentRecognizer, Thresholds

KIB = 1024
LOGIN_PATHS = frozenset({"/api/login"})
# FastAPI's documentation pages load scripts from other hosts; the spans are those of core.spans.
FASTAPI_OPTIONS: dict[str, Any] = {
    "docs_url": None,
    "redoc_url": None,
    "telemetry": {"tracing": False, "metrics": False, "logs": False},
}
# What satellites and the voice service call; everything else needs `admin`.
ROUTE_SCOPES = RouteScopes(
    {
        "POST /v1/command": Scope.TALK,
        "POST /v1/turns/{trace_id}/spoken": Scope.TALK,
        "POST /v1/notifications": Scope.TALK,
        "POST /api/talk/offer": Scope.TALK,
        "PATCH /api/talk/offer": Scope.TALK,
    }
)
SUMMARY = "Commands, sessions and the record of turns."


def build_api_service(
    system: System, settings: Settings, *, overrides: Overrides | None = None
) -> ServiceApp:
    """Return the api; raises permanent errors such as a damaged database or a wrong setting."""
    system = with_current_epoch(system)
    metrics = Metrics("api")
    service = make_service(system, settings, metrics, overrides or Overrides())
    checks = health.make_checks(
        database=service.database_provider.check,
        redis=service.redis,
        gpu=service.gpu.ready,
        optional=_make_optional_probes(service, metrics),
    )
    monitor = HealthMonitor("api", checks, metrics)
    service.status_watcher = make_status_watcher(service, monitor)
    dashboard = static_files.read_dashboard(settings.dashboard_dir)
    app = make_app(service, monitor, metrics, dashboard)
    open_paths = PUBLIC_PATHS | LOGIN_PATHS | (dashboard.paths if dashboard else frozenset())
    body_max_bytes = system.limits.body_max_kib * KIB
    asgi = ServiceMiddleware(
        app,
        metrics,
        service.authenticator,
        body_max_bytes,
        open_paths,
        ROUTE_SCOPES,
        service.login_rate_limiter,
    )
    return ServiceApp(asgi, monitor, before_shutdown=service.before_shutdown)


def make_documented_app() -> FastAPI:
    """Return the routes of the OpenAPI document; they need `app.state.service` to answer."""
    documented = FastAPI(
        title="BarnabeeNet", summary=SUMMARY, version=__version__, **FASTAPI_OPTIONS
    )
    for routes in (commands, turns, backups, login, status, voice_offer, gpu, notifications):
        documented.include_router(routes.router)
    return documented


def make_status_watcher(service: ApiService, monitor: HealthMonitor) -> StatusWatcher:
    """Return the watcher of all services that `service` has clients for."""
    clients = service.clients
    cascade = Cascade(service.system, HealthSources(monitor, service.redis, clients), time.time)
    return StatusWatcher(
        service.system,
        cascade,
        service.event_bus,
        clients.get("voice"),
        clients.get("worker"),
        make_alert_reader(service.alertmanager),
    )


def make_app(
    service: ApiService,
    monitor: HealthMonitor,
    metrics: Metrics,
    dashboard: DashboardFiles | None = None,
) -> Starlette:
    """Return the routes, without the middleware.

    Commands and health bypass FastAPI, whose layers take 25 us more CPU (see `routes.commands`).
    """

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        async with service.run():
            yield

    documented = make_documented_app()
    app = Starlette(
        routes=[
            commands.route,
            *make_standard_routes(monitor, metrics),
            *(dashboard.make_routes() if dashboard else ()),
            Mount("", documented),
        ],
        lifespan=lifespan,
    )
    for application in (documented, app):
        application.state.service = service
        add_error_handlers(application)
    return app


def make_service(
    system: System, settings: Settings, metrics: Metrics, overrides: Overrides
) -> ApiService:
    """Build the components. Prepares the database and opens no connection."""
    require_credential(Scope.ADMIN.credential)
    database_provider = _prepare_database(settings)
    redis = RedisClient(add_password(settings.redis_url, "api"))
    queue = JobQueue(redis)
    gpu_client = overrides.gpu or _make_gpu_client(settings)
    home = overrides.home or _make_home_client(settings)
    llm = overrides.llm or make_llm_client(system, settings, metrics)
    recognizer = IntentRecognizer(gpu_client, Thresholds.from_config(system.intent))
    clock = HomeClock(settings.time_zone)
    clients = make_clients(system, settings)
    schedule = DatabaseSchedule(database_provider, queue, system.schedule)
    memory = DatabaseFactMemory(queue, database_provider, clock)
    announcer = VoiceClient(clients["voice"]) if "voice" in clients else None
    external = {"llm": llm, "schedule": schedule, "announcer": announcer}
    command_services = make_command_services(
        system.routine, home=home, recognizer=recognizer, memory=memory, now=clock, **external
    )
    sessions = Sessions(redis, system.session.ttl_s, system.session.turns_max)
    turn_writer = TurnWriter(sessions, queue, database_provider)
    command_metrics = CommandMetrics.register(metrics)
    command_handler = CommandHandler(command_services, sessions, turn_writer, command_metrics)
    command_handler.take_missed = schedule.take_missed
    web_sessions = WebSessions(settings.data_dir / "browsers.json", time.time)
    return ApiService(
        system=system,
        settings=settings,
        authenticator=open_authenticator(web_sessions.touch),
        redis=redis,
        database_provider=database_provider,
        queue=queue,
        sessions=sessions,
        turn_writer=turn_writer,
        command_handler=command_handler,
        rate_limiter=make_command_limiter(system.limits),
        login_links=LoginLinks(redis),
        login_rate_limiter=make_login_limiter(system.limits),
        web_sessions=web_sessions,
        clients=clients,
        log_reader=TurnLogReader(settings, system.retention.logs_days),
        alertmanager=AlertmanagerClient(settings.alertmanager_url),
        embedding_cache=_make_embedding_cache(recognizer, system, settings),
        gpu=gpu_client,
        home=home,
        llm=llm,
        follow_time_zone=partial(schedule.follow_time_zone, make_zone_reader(clock, home)),
    )


def _prepare_database(settings: Settings) -> DatabaseProvider:
    provider = DatabaseProvider(
        settings.database_path,
        before_migration=make_migration_hook(make_txid_reader(settings)),
        lease_dir=settings.lease_dir,
    )
    provider.prepare()
    return provider


def _make_gpu_client(settings: Settings) -> GpuService:
    names = ModelNames.from_settings(settings)
    return GpuClient(settings.gpu_service_urls, make_token_reader(Scope.INFER), names=names)


def _make_home_client(settings: Settings) -> HomeAssistantService | None:
    if not settings.home_assistant_url:
        return None
    # The token is read at every attempt, because it may be created after the api has started.
    return HomeAssistant(
        settings.home_assistant_url, lambda: read_credential("home_assistant_token") or ""
    )


def _make_embedding_cache(
    recognizer: IntentRecognizer, system: System, settings: Settings
) -> EmbeddingCache:
    embedders = (model for model in system.model.values() if model.task == "embed")
    model = next(embedders, None)
    files = model and (model.cuda_files if settings.device == "cuda" else model.cpu_files)
    model_id = f"{files or 'none'} {settings.embed_model}"  # differs for every embedding model
    return EmbeddingCache(recognizer, settings.data_dir / "cache", model_id)


def _make_optional_probes(service: ApiService, metrics: Metrics) -> dict[str, HealthProbe]:
    settings = service.settings
    probes = health.make_external_probes(
        service.system, settings, metrics, service.home, service.llm
    )
    if settings.litestream_socket:
        socket = Path(settings.litestream_socket)
        allowed = service.system.acceptance.replica_lag_txids
        path = service.database_provider.path
        probes["replica"] = lambda: check_replica(socket, path, allowed)
        probes["backup"] = health.BackupProbe(service.system, settings)
    return probes
