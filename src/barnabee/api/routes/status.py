"""Routes of the installation's status: event stream, current status and configuration."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import StreamingResponse

from barnabee import __version__
from barnabee.api.language_model import describe_config, merge_config
from barnabee.api.schemas import StatusResponse, SystemResponse, TurnEvent, TurnTimingsEvent
from barnabee.api.service import get_service
from barnabee.clients.probe import read_budgets_ms
from barnabee.core.errors import StillLoading
from barnabee.core.schema import ServiceConfig, System
from barnabee.store.waterfall import STAGE_TITLES

router = APIRouter()


class EventStreamResponse(StreamingResponse):
    """Stream of server-sent events."""

    media_type = "text/event-stream"


# The data of each event is one of these models.
_EVENTS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Events `now`, `turn`, `spoken`, and `beat` as a heartbeat.",
        "model": StatusResponse | TurnEvent | TurnTimingsEvent,
    }
}


@router.get("/api/events", response_class=EventStreamResponse, responses=_EVENTS)
async def stream_events(request: Request) -> StreamingResponse:
    """Send the current status, then all changes until the client disconnects."""
    stream = await get_service(request).status_watcher.subscribe()
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    response = EventStreamResponse(stream, headers=headers)
    # Starlette adds a charset; event streams are always UTF-8.
    response.headers["content-type"] = EventStreamResponse.media_type
    return response


@router.get("/api/now", response_model=StatusResponse)
async def get_status(request: Request) -> StatusResponse:
    """Return the current status."""
    status = get_service(request).status_watcher.status
    if status is None:
        raise StillLoading(what="the first status check")
    return status


@router.get("/api/system", response_model=SystemResponse)
async def get_system(request: Request) -> dict[str, Any]:
    """Return the public part of system.toml."""
    service = get_service(request)
    config = merge_config(service.system.llm, service.settings)
    return make_public_system(service.system) | {"language_model": describe_config(config)}


@router.get("/", include_in_schema=False)
async def get_index() -> dict[str, Any]:
    """Return the main paths; without a built dashboard this is the start page."""
    paths = {"health": "/health", "system": "/api/system", "turns": "/v1/turns"}
    return {"name": "BarnabeeNet", "version": __version__, "paths": paths}


def make_public_system(system: System) -> dict[str, Any]:
    """Return the configuration that clients may read: everything but credentials. Pure."""
    return {
        "version": __version__,
        "services": {name: _make_service(one) for name, one in system.service.items()},
        "companions": {name: _make_service(one) for name, one in system.companion.items()},
        "models": {name: one.model_dump() for name, one in system.model.items()},
        "card": system.gpu.model_dump(),
        "voice": system.voice.model_dump(),
        "stage_budgets_ms": read_budgets_ms(system),
        "stage_titles": STAGE_TITLES,
        "acceptance": system.acceptance.model_dump(),
        "filler": system.filler.model_dump(),
        "wake": {"words": list(system.wake.words)},
        "talk": system.talk.model_dump(),
        "limits": system.limits.model_dump(),
        "retention": system.retention.model_dump(),
        "hosts": {name: one.model_dump() for name, one in system.host.items()},
    }


def _make_service(service: ServiceConfig) -> dict[str, Any]:
    return service.model_dump(exclude={"credentials"})
