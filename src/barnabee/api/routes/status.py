"""What happens in the house, as it happens: server-sent events, and how everything is now."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import StreamingResponse

from barnabee import __version__
from barnabee.api.latency_explainer import STAGE_TITLES
from barnabee.api.schemas import StatusResponse, TurnTimingsEvent, SystemResponse, TurnEvent
from barnabee.api.service import get_service
from barnabee.clients.probe import read_budgets_ms
from barnabee.core.errors import StillLoading
from barnabee.core.schema import ServiceConfig, System

router = APIRouter()


class EventStreamResponse(StreamingResponse):
    """Server-sent events."""

    media_type = "text/event-stream"


# The events' data are objects of these shapes.
_EVENTS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Events `now`, `turn`, `spoken`, and `beat` when there is nothing else.",
        "model": StatusResponse | TurnEvent | TurnTimingsEvent,
    }
}


@router.get("/api/events", response_class=EventStreamResponse, responses=_EVENTS)
async def stream_events(request: Request) -> StreamingResponse:
    """Send how everything is, then whatever changes, for as long as the page is open."""
    stream = await get_service(request).watch.listen()
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    answer = EventStreamResponse(stream, headers=headers)
    answer.headers["content-type"] = EventStreamResponse.media_type  # without a charset, which is UTF-8 anyway
    return answer


@router.get("/api/now", response_model=StatusResponse)
async def get_status(request: Request) -> StatusResponse:
    """Return how everything is."""
    found = get_service(request).watch.now
    if found is None:
        raise StillLoading(what="the first look around")
    return found


router = APIRouter()


@router.get("/api/system", response_model=SystemResponse)
async def get_system(request: Request) -> dict[str, Any]:
    """Return the public part of the system file this api runs with."""
    return make_public_system(get_service(request).system)


@router.get("/", include_in_schema=False)
async def get_index() -> dict[str, Any]:
    """Return where to go from here."""
    paths = {"health": "/health", "system": "/api/system", "turns": "/v1/turns"}
    return {"name": "BarnabeeNet", "version": __version__, "paths": paths}


def make_public_system(system: System) -> dict[str, Any]:
    """Return what anybody in the house may know of `system`. Pure."""
    return {
        "version": __version__,
        "services": {name: _service(one) for name, one in system.service.items()},
        "companions": {name: _service(one) for name, one in system.companion.items()},
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


def _service(service: ServiceConfig) -> dict[str, Any]:
    return service.model_dump(exclude={"credentials"})
