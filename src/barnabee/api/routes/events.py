"""What happens in the house, as it happens: server-sent events, and how everything is now."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import StreamingResponse

from barnabee.api.schemas.status import Now, SpokenNow, TurnNow
from barnabee.api.service import service_of
from barnabee.core.errors import StillLoading

router = APIRouter()


class Events(StreamingResponse):
    """Server-sent events."""

    media_type = "text/event-stream"


# The events' data are objects of these shapes.
_EVENTS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Events `now`, `turn`, `spoken`, and `beat` when there is nothing else.",
        "model": Now | TurnNow | SpokenNow,
    }
}


@router.get("/api/events", response_class=Events, responses=_EVENTS)
async def events(request: Request) -> StreamingResponse:
    """Send how everything is, then whatever changes, for as long as the page is open."""
    stream = await service_of(request).watch.listen()
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    answer = Events(stream, headers=headers)
    answer.headers["content-type"] = Events.media_type  # without a charset, which is UTF-8 anyway
    return answer


@router.get("/api/now", response_model=Now)
async def now(request: Request) -> Now:
    """Return how everything is."""
    found = service_of(request).watch.now
    if found is None:
        raise StillLoading(what="the first look around")
    return found
