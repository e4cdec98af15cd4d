"""Inference service: capabilities, routes, health checks and metrics as one ASGI application."""

from __future__ import annotations

import asyncio
import atexit
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import structlog
from fastapi import FastAPI

from barnabee import __version__
from barnabee.audio.decode import AudioDecoder
from barnabee.core.auth import Authenticator, RouteScopes, open_authenticator
from barnabee.core.errors import StillLoading
from barnabee.core.health import Degraded, HealthCheck, HealthMonitor
from barnabee.core.http import MIB, ServiceMiddleware, add_error_handlers, make_standard_routes
from barnabee.core.rate_limit import make_login_limiter
from barnabee.core.serve import ServiceApp
from barnabee.core.tokens import Scope
from barnabee.gpu import engine_factory
from barnabee.gpu.capabilities import Capabilities, Capability
from barnabee.gpu.metrics import GpuMetrics
from barnabee.gpu.model_runtime import RuntimeState
from barnabee.gpu.routes import chat, embeddings, models, speech, transcriptions, wake
from barnabee.gpu.vram.probe import open_probe

if TYPE_CHECKING:
    from barnabee.core.schema import System
    from barnabee.core.settings import Settings
    from barnabee.gpu.vram.manager import VramManager

SHUTDOWN_GRACE_S = 2  # running requests may end; with LAST_JOB_TIMEOUT_S less than the 4 s promised
LAST_JOB_TIMEOUT_S = 0.5
ROUTE_SCOPES = RouteScopes(
    {
        "POST /v1/audio/transcriptions": Scope.INFER,
        "POST /v1/audio/speech": Scope.INFER,
        "GET /v1/audio/voices": Scope.INFER,
        "POST /v1/embeddings": Scope.INFER,
        "POST /v1/chat/completions": Scope.INFER,
        "WEBSOCKET /v1/wake": Scope.INFER,
        "GET /v1/models": Scope.INFER,
        "GET /v1/models/{model}": Scope.INFER,
        "POST /v1/models/{model}/load": Scope.ADMIN,
        "POST /v1/models/{model}/unload": Scope.ADMIN,
        "GET /v1/vram": Scope.INFER,
        "POST /v1/turns": Scope.INFER,
        "DELETE /v1/turns/{turn}": Scope.INFER,
    }
)

log = structlog.get_logger()


def make_checks(capabilities: Capabilities) -> list[HealthCheck]:
    """Return a check of each preloaded capability, of the engines and of the VRAM manager.

    A capability is a soft dependency: without speech, commands can still be typed. Hard are that
    start-up has ended, that one engine works, and that neither an inference nor the manager hangs,
    because all later requests would wait for them.
    """

    def make_capability_check(capability: Capability[Any]) -> HealthCheck:
        async def check_capability() -> Degraded | None:
            reading_error = capabilities.manager.memory.error
            if reading_error and capability.preferred.state is RuntimeState.ABSENT:
                raise reading_error  # the model waits for a memory reading, not for its files
            return capability.check_health()

        return HealthCheck(capability.name, check_capability, hard=False)

    async def check_engines() -> None:
        has_attempted_load = capabilities.manager.has_attempted_load
        preferred = [capability.preferred for capability in capabilities.always_loaded()]
        pending = [one.model_id for one in preferred if not has_attempted_load(one.name)]
        if pending:
            raise StillLoading(what=", ".join(pending))
        capabilities.check_any_ready()

    async def check_manager() -> None:
        capabilities.manager.check()

    return [
        *(make_capability_check(capability) for capability in capabilities.always_loaded()),
        HealthCheck("engines", check_engines, hard=True),
        HealthCheck("card", check_manager, hard=True),
    ]


def build_inference_service(
    system: System,
    settings: Settings,
    *,
    capabilities: Capabilities | None = None,
    access: Authenticator | None = None,
    metrics: GpuMetrics | None = None,
) -> ServiceApp:
    """Return the service; it answers requests while its models are still loading."""
    metrics = metrics or GpuMetrics("gpu")
    access = access or open_authenticator()
    if capabilities is None:
        limit_mib = system.service["gpu"].memory_max_mib
        probe = open_probe(engine_factory.read_device(settings), limit_mib)
        capabilities = engine_factory.make_capabilities(system, settings, metrics, probe)
    health = HealthMonitor("gpu", make_checks(capabilities), metrics)
    manager = capabilities.manager
    streams = wake.StreamLimiter(system.wake.streams_max, metrics.wake_streams.set)
    metrics.create_wake_series(system.wake)
    decoder = AudioDecoder(max_s=system.limits.audio_max_s)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        running = asyncio.create_task(manager.run(), name="vram-manager")
        try:
            yield
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await decoder.aclose()
        _end_engines(manager)

    app = FastAPI(title="BarnabeeNet inference", version=__version__, lifespan=lifespan)
    add_error_handlers(app)
    app.include_router(transcriptions.make_router(capabilities.stt, decoder, system.limits))
    app.include_router(speech.make_router(capabilities.tts, system.limits, system.voice))
    app.include_router(embeddings.make_router(capabilities.embed, system.limits))
    app.include_router(chat.make_router(capabilities.llm))
    app.include_router(models.make_router(capabilities))
    app.include_router(wake.make_router(capabilities.wake, system.wake, streams, metrics))
    app.router.routes.extend(make_standard_routes(health, metrics))
    front = ServiceMiddleware(
        app,
        metrics,
        access,
        system.limits.audio_max_mib * MIB,
        scopes=ROUTE_SCOPES,
        wrong_tokens=make_login_limiter(system.limits),
    )
    return ServiceApp(front, health, SHUTDOWN_GRACE_S, streams.close_all)


def _end_engines(manager: VramManager) -> None:
    """End engines in children; skip the interpreter's own shutdown when an engine still computes.

    Its thread cannot be interrupted; the interpreter would wait for the library or crash in it.
    """
    for child in tuple(manager.memory.probe.children):
        child.kill()
    runtimes = manager.runtimes.values()
    busy = [one.model_id for one in runtimes if not one.wait_until_idle(LAST_JOB_TIMEOUT_S)]
    if busy:
        log.warning("exited while computing", engines=busy)
        atexit.register(os._exit, 0)
