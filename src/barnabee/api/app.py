"""Puts the api together: what is configured becomes a part, what is not stays None."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.routing import Mount

from barnabee import __version__
from barnabee.api import health, health, static_files
from barnabee.api.cascade import Cascade, HealthSources
from barnabee.api.command_handler import CommandHandler
from barnabee.api.embedding_cache import EmbeddingCache
from barnabee.api.event_bus import EventBus
from barnabee.api.turn_recorder import DatabaseFactMemory
from barnabee.api.log_reader import TurnLogReader
from barnabee.api.web_sessions import LoginLinks
from barnabee.api.metrics import CommandMetrics
from barnabee.api.rate_limit import RateLimiter
from barnabee.api.routes import backups, commands, status, gpu, status, login, turns, voice_offer
from barnabee.api.service import GpuService, HomeAssistantService, LanguageModelService, Overrides, ApiService
from barnabee.api.static_files import DashboardFiles
from barnabee.api.status_watcher import StatusWatcher, make_alert_reader
from barnabee.api.turn_recorder import TurnWriter
from barnabee.api.web_sessions import WebSessions
from barnabee.backup.litestream import check_replica, make_txid_reader
from barnabee.backup.restore_points import make_migration_hook
from barnabee.clients.alertmanager import AlertmanagerClient
from barnabee.clients.gpu import GpuClient, ModelNames
from barnabee.clients.home_assistant import HomeAssistant
from barnabee.clients.llm import AzureModel, AzureDeployment
from barnabee.clients.queue import JobQueue
from barnabee.clients.service_client import ServiceClient
from barnabee.core.auth import Authenticator
from barnabee.core.errors import SettingInvalid
from barnabee.core.health import HealthMonitor, HealthProbe
from barnabee.core.http import PUBLIC_PATHS, ServiceMiddleware, add_error_handlers, make_standard_routes
from barnabee.core.metrics import Metrics
from barnabee.core.redis_client import RedisClient
from barnabee.core.schema import System
from barnabee.core.serve import ServiceApp
from barnabee.core.settings import Settings, read_credential, require_credential
from barnabee.store.provider import DatabaseProvider
from barnabee.store.sessions import Sessions
from barnabee.understanding.command_processor import CommandServices
from barnabee.understanding.intents import Thresholds
from barnabee.understanding.intent_recognizer import IntentRecognizer

KIB = 1024
LOGIN_PATHS = frozenset({"/api/login"})
# Its documentation pages load scripts from elsewhere; telemetry is ours already.
FASTAPI: dict[str, Any] = {
    "docs_url": None,
    "redoc_url": None,
    "telemetry": {"tracing": False, "metrics": False, "logs": False},
}
SUMMARY = "Commands, sessions and the record of turns of the house."


def build_api_service(system: System, settings: Settings, *, seams: Overrides | None = None) -> ServiceApp:
    """Return the api; raises what no waiting mends (a damaged database, a wrong setting)."""
    metrics = Metrics("api")
    service = make_service(system, settings, metrics, seams or Overrides())
    checks = health.make_checks(
        database=service.database_provider.check,
        redis=service.redis,
        gpu=service.gpu.ready,
        optional=_optional(service, metrics),
    )
    looks = HealthMonitor("api", checks, metrics)
    service.watch = make_status_watcher(service, looks)
    page = static_files.read_dashboard(settings.dashboard_dir)
    app = make_app(service, looks, metrics, page)
    open_paths = PUBLIC_PATHS | LOGIN_PATHS | (page.paths if page else frozenset())
    body_max_bytes = system.limits.body_max_kib * KIB
    front = ServiceMiddleware(app, metrics, service.access, body_max_bytes, open_paths)
    return ServiceApp(front, looks, before_shutdown=service.farewell)


def make_documented_app() -> FastAPI:
    """Return everything that the OpenAPI document describes, without what answers it."""
    documented = FastAPI(title="BarnabeeNet", summary=SUMMARY, version=__version__, **FASTAPI)
    for routes in (commands, status, turns, backups, login, status, voice_offer, gpu):
        documented.include_router(routes.router)
    return documented


def make_status_watcher(service: ApiService, looks: HealthMonitor) -> StatusWatcher:
    """Return what keeps the open pages up to date."""
    neighbours = service.neighbours
    places = HealthSources(looks, service.redis, neighbours)
    cascade = Cascade(service.system, places, time.time)
    voice, worker = neighbours.get("voice"), neighbours.get("worker")
    alerts = make_alert_reader(service.alertmanager)
    return StatusWatcher(service.system, cascade, service.news, voice, worker, alerts)


def make_app(
    service: ApiService, looks: HealthMonitor, metrics: Metrics, page: DashboardFiles | None = None
) -> Starlette:
    """Return the routes, without what stands in front of them.

    Commands and health do not pass FastAPI, whose layers take 25 us of CPU more (see
    `routes.commands`); all else does.
    """

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        async with service.running():
            yield

    documented = make_documented_app()
    app = Starlette(
        routes=[
            commands.route,
            *make_standard_routes(looks, metrics),
            *(page.routes() if page else ()),
            Mount("", documented),
        ],
        lifespan=lifespan,
    )
    for one in (documented, app):
        one.state.service = service
        add_error_handlers(one)
    return app


def make_service(system: System, settings: Settings, metrics: Metrics, seams: Overrides) -> ApiService:
    """Return the parts; opens the database, connects to nothing yet."""
    token = require_credential("api_token")
    database_provider = DatabaseProvider(
        settings.database_path,
        before_migration=make_migration_hook(make_txid_reader(settings)),
        lease_dir=settings.lease_dir,
    )
    database_provider.prepare()
    redis = RedisClient(settings.redis_url)
    queue = JobQueue(redis)
    engines: GpuService = seams.gpu or GpuClient(
        settings.gpu_service_urls, token, names=ModelNames.from_settings(settings)
    )
    home = seams.home or _home(settings)
    llm = seams.llm or _llm(settings)
    house_now = make_clock(settings.time_zone)
    understanding = IntentRecognizer(engines, Thresholds.from_config(system.intent))
    parts = CommandServices(
        recognizer=understanding,
        memory=DatabaseFactMemory(queue, database_provider, house_now),
        home=home,
        llm=llm,
        now=house_now,
        recall_threshold=system.intent.recall_permille / 1000,
    )
    sessions = Sessions(redis, system.session.ttl_s, system.session.turns_max)
    recorder = TurnWriter(sessions, queue, database_provider)
    browsers = WebSessions(settings.data_dir / "browsers.json", time.time)
    limits = system.limits
    return ApiService(
        system=system,
        settings=settings,
        access=Authenticator(token, browsers.lets_in),
        redis=redis,
        database_provider=database_provider,
        queue=queue,
        sessions=sessions,
        recorder=recorder,
        dialogue=CommandHandler(parts, sessions, recorder, CommandMetrics.register(metrics)),
        limiter=RateLimiter(limits.commands_per_minute, limits.command_burst, time.monotonic),
        logins=LoginLinks(redis),
        login_limiter=RateLimiter(limits.logins_per_minute, limits.logins_per_minute, time.monotonic),
        browsers=browsers,
        news=EventBus(),
        neighbours=_neighbours(system, settings, token),
        lines=TurnLogReader(settings, system.retention.logs_days),
        alertmanager=AlertmanagerClient(settings.alertmanager_url),
        vectors=EmbeddingCache(
            understanding, settings.data_dir / "cache", _model(system, settings)
        ),
        gpu=engines,
        home=home,
        llm=llm,
    )


def _neighbours(system: System, settings: Settings, token: str) -> dict[str, ServiceClient]:
    """Return the services that answer over HTTP: where settings say, else on this machine."""
    told = {
        "gpu": settings.gpu_service_urls[0],
        "voice": settings.voice_url,
        "worker": settings.worker_url,
        "litestream": settings.litestream_url,
    }
    host = "127.0.0.1" if settings.bind in {"0.0.0.0", "::"} else settings.bind
    host = f"[{host}]" if ":" in host else host
    return {
        name: ServiceClient(name, told.get(name) or f"http://{host}:{one.port}", token)
        for name, one in system.service.items()
        if one.probe == "http" and name != "api"
    }


def make_clock(time_zone: str) -> Callable[[], datetime]:
    """Return the house's clock: in `time_zone`, or in the machine's own when that is empty."""
    if not time_zone:
        return lambda: datetime.now().astimezone()
    try:
        zone = ZoneInfo(time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        hint = "write a name like Europe/Berlin"
        name = "BARNABEE_TIME_ZONE"
        raise SettingInvalid(name=name, reason=f"it is {time_zone!r}", hint=hint) from error
    return lambda: datetime.now(zone)


def _home(settings: Settings) -> HomeAssistantService | None:
    if not settings.home_assistant_url:
        return None
    # Read at every attempt: the token of a house that is being set up comes later than we do.
    return HomeAssistant(
        settings.home_assistant_url, lambda: read_credential("home_assistant_token") or ""
    )


def _llm(settings: Settings) -> LanguageModelService | None:
    if not settings.azure_openai_endpoint:
        return None
    if not settings.azure_openai_deployment:
        hint = "write the name of the deployment, or leave AZURE_OPENAI_ENDPOINT empty"
        raise SettingInvalid(name="AZURE_OPENAI_DEPLOYMENT", reason="it is empty", hint=hint)
    return AzureModel(
        AzureDeployment(
            settings.azure_openai_endpoint,
            settings.azure_openai_deployment,
            settings.azure_openai_api_version,
            require_credential("azure_openai_key"),
        )
    )


def _model(system: System, settings: Settings) -> str:
    """Return a name that changes with whatever makes embeddings."""
    embedders = (model for model in system.model.values() if model.task == "embed")
    chosen = next(embedders, None)
    files = chosen and (chosen.cuda_files if settings.device == "cuda" else chosen.cpu_files)
    return f"{files or 'none'} {settings.embed_model}"


def _replica(service: ApiService) -> HealthProbe:
    socket = Path(service.settings.litestream_socket)
    allowed = service.system.acceptance.replica_lag_txids
    return lambda: check_replica(socket, service.database_provider.path, allowed)


def _optional(service: ApiService, metrics: Metrics) -> dict[str, HealthProbe]:
    probes = health.make_external_probes(
        service.system, service.settings, metrics, service.home, service.llm
    )
    if service.settings.litestream_socket:
        probes["replica"] = _replica(service)
    return probes
