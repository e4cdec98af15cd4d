"""Builds the service out of its engines, routes, health and metrics."""

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
from barnabee.core.access import Access
from barnabee.core.health import Health
from barnabee.core.http import MIB, Front, handle_errors, standard_routes
from barnabee.core.serve import Running
from barnabee.core.settings import required_credential
from barnabee.gpu import catalogue
from barnabee.gpu.health import checks
from barnabee.gpu.metrics import GpuMetrics
from barnabee.gpu.routes import embeddings, models, speech, transcriptions

if TYPE_CHECKING:
    from barnabee.core.settings import Settings
    from barnabee.core.tables import System
    from barnabee.gpu.slots import Slot, Slots

GRACE_S = 2  # what is being said may end; with LAST_STEP_S it stays below the 4 s promised
LAST_STEP_S = 0.5

log = structlog.get_logger()


def build(
    system: System,
    settings: Settings,
    *,
    slots: Slots | None = None,
    access: Access | None = None,
    metrics: GpuMetrics | None = None,
) -> Running:
    """Return the service; engines begin to load when it starts, while it already answers."""
    metrics = metrics or GpuMetrics("gpu")
    access = access or Access(required_credential("api_token"))
    slots = slots or catalogue.on_cpu(system, settings, metrics)
    health = Health("gpu", checks(slots), metrics)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            keepers = [group.create_task(slot.keep(), name=slot.task) for slot in slots.all()]
            yield
            for keeper in keepers:
                keeper.cancel()
        _leave(slots.all())

    app = FastAPI(title="BarnabeeNet inference", version=__version__, lifespan=lifespan)
    handle_errors(app)
    app.include_router(transcriptions.router(slots.stt, system.limits))
    app.include_router(speech.router(slots.tts, system.limits, system.voice))
    app.include_router(embeddings.router(slots.embed, system.limits))
    app.include_router(models.router(slots))
    app.router.routes.extend(standard_routes(health, metrics))
    front = Front(app, metrics, access, body_max_bytes=system.limits.audio_max_mib * MIB)
    return Running(front, health, GRACE_S)


def _leave(slots: tuple[Slot[Any], ...]) -> None:
    """End even though an engine computes: its thread cannot be interrupted, only left behind.

    Python's own way out would wait for the library to return, or crash in it.
    """
    busy = [slot.model for slot in slots if not slot.lane.wait_idle(LAST_STEP_S)]
    if busy:
        log.warning("left while computing", engines=busy)
        atexit.register(os._exit, 0)
