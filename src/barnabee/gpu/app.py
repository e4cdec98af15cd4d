"""Builds the service out of its tasks, routes, health and metrics."""

from __future__ import annotations

import asyncio
import atexit
import os
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import structlog
from fastapi import FastAPI

from barnabee import __version__
from barnabee.core.auth import Access
from barnabee.core.health import Health
from barnabee.core.http import MIB, Front, handle_errors, standard_routes
from barnabee.core.serve import Running
from barnabee.core.settings import required_credential
from barnabee.gpu import engine_factory
from barnabee.gpu.health import checks
from barnabee.gpu.metrics import GpuMetrics
from barnabee.gpu.routes import embeddings, models, speech, transcriptions, turns, vram, wake
from barnabee.gpu.stream_limits import Streams
from barnabee.gpu.vram.probe import open_probe

if TYPE_CHECKING:
    from barnabee.core.schema import System
    from barnabee.core.settings import Settings
    from barnabee.gpu.capabilities import Tasks
    from barnabee.gpu.model_runtime import Slot

GRACE_S = 2  # what is being said may end; with LAST_STEP_S it stays below the 4 s promised
LAST_STEP_S = 0.5

log = structlog.get_logger()


def build(
    system: System,
    settings: Settings,
    *,
    tasks: Tasks | None = None,
    access: Access | None = None,
    metrics: GpuMetrics | None = None,
) -> Running:
    """Return the service; engines begin to load when it starts, while it already answers."""
    metrics = metrics or GpuMetrics("gpu")
    access = access or Access(required_credential("api_token"))
    if tasks is None:
        limit_mib = system.service["gpu"].memory_max_mib
        probe = open_probe(engine_factory.device_of(settings), limit_mib)
        tasks = engine_factory.build(system, settings, metrics, probe)
    health = Health("gpu", checks(tasks), metrics)
    manager = tasks.manager
    streams = Streams(system.wake.streams_max, metrics.wake_streams.set)
    metrics.show_words(system.wake)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        keeper = asyncio.create_task(manager.run(), name="card")
        try:
            yield
        finally:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)
        _leave(manager.slots.values())

    app = FastAPI(title="BarnabeeNet inference", version=__version__, lifespan=lifespan)
    handle_errors(app)
    app.include_router(transcriptions.router(tasks.stt, system.limits))
    app.include_router(speech.router(tasks.tts, system.limits, system.voice))
    app.include_router(embeddings.router(tasks.embed, system.limits))
    app.include_router(models.router(tasks))
    app.include_router(vram.router(tasks))
    app.include_router(turns.router(tasks))
    app.include_router(wake.router(tasks.wake, system.wake, streams, metrics))
    app.router.routes.extend(standard_routes(health, metrics))
    front = Front(app, metrics, access, body_max_bytes=system.limits.audio_max_mib * MIB)
    return Running(front, health, GRACE_S, streams.end)


def _leave(slots: Iterable[Slot[Any]]) -> None:
    """End even though an engine computes: its thread cannot be interrupted, only left behind.

    Python's own way out would wait for the library to return, or crash in it.
    """
    busy = [slot.model for slot in slots if not slot.lane.wait_idle(LAST_STEP_S)]
    if busy:
        log.warning("left while computing", engines=busy)
        atexit.register(os._exit, 0)
