"""Routes for our own services: the rings that are active, and announcements."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from barnabee.core.errors import Forbidden
from barnabee.core.http import CLIENT_KEY
from barnabee.core.tokens import Scope
from barnabee.voice.announcements import AnnouncementBoard
from barnabee.voice.room_registry import ROOM_NAME_PATTERN

MAX_RINGS = 1000
MAX_TEXT_CHARS = 500
RoomName = Annotated[str, Field(pattern=ROOM_NAME_PATTERN)]


class StatedRing(BaseModel):
    """A ring that is active until `until` (Unix time in s)."""

    ring_id: str = Field(min_length=1, max_length=128)
    text: str = Field(min_length=1, max_length=MAX_TEXT_CHARS)
    room: str | None = Field(None, max_length=64)
    until: float


class StatedRings(BaseModel):
    """All rings that are active."""

    rings: list[StatedRing] = Field(max_length=MAX_RINGS)


class AnnouncementRequest(BaseModel):
    """Text to be spoken in some rooms, or in all that are connected but `besides`."""

    text: str = Field(min_length=1, max_length=MAX_TEXT_CHARS)
    rooms: list[RoomName] = Field([], max_length=64)
    besides: str | None = None


def make_announcement_router(board: AnnouncementBoard) -> APIRouter:
    router = APIRouter()

    @router.put("/v1/rings")
    async def set_rings(request: Request, stated: StatedRings) -> dict[str, Any]:
        """Let exactly these rings be active; for our services only."""
        _require_service(request)
        rings = board.set_rings(ring.model_dump() for ring in stated.rings)
        return {
            "rooms": board.list_rooms(),
            "rings": [
                {
                    "ring_id": ring.ring_id,
                    "sounded_at_s": ring.sounded_at,
                    "is_silenced": ring.is_silenced,
                }
                for ring in rings
            ],
        }

    @router.post("/v1/announcements")
    async def announce(request: Request, announcement: AnnouncementRequest) -> dict[str, Any]:
        """Speak a text in rooms that are connected; for our services only."""
        _require_service(request)
        rooms = board.announce(announcement.text, announcement.rooms, announcement.besides)
        return {"rooms": rooms}

    return router


def _require_service(request: Request) -> None:
    client = request.scope[CLIENT_KEY]
    if not client.is_service:
        raise Forbidden(required=Scope.ADMIN, given=client.scope)
