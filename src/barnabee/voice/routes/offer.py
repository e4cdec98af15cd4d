"""POST /v1/offer, PATCH /v1/offer: WebRTC for browsers, an SDP offer in and its answer out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from barnabee.core.errors import NotFound, Unavailable
from barnabee.voice.pipeline import House, converse
from barnabee.voice.routes.names import DEFAULT, room_name
from barnabee.voice.transports import webrtc

if TYPE_CHECKING:
    from pipecat.transports.smallwebrtc.connection import SmallWebRTCConnection

    from barnabee.voice.room_registry import Place, Rooms

SDP_CHARS = 48 * 1024


class Offer(BaseModel):
    """What a browser offers."""

    sdp: str = Field(min_length=1, max_length=SDP_CHARS)
    type: Literal["offer"] = "offer"
    room: str = DEFAULT


class LateCandidate(BaseModel):
    """An address that was found after the offer, in the browser's own words."""

    candidate: str = Field(max_length=1024)
    sdp_mid: str | None = Field(None, alias="sdpMid", max_length=64)
    sdp_mline_index: int | None = Field(None, alias="sdpMLineIndex", ge=0, le=16)


class LateCandidates(BaseModel):
    """Addresses for one connection."""

    pc_id: str = Field(max_length=128)
    candidates: list[LateCandidate] = Field(max_length=64)


class Connections:
    """The WebRTC connections there are, and the tasks that hold their conversations."""

    def __init__(self, house: Callable[[], House], rooms: Rooms) -> None:
        """Begin with none."""
        self._house, self._rooms = house, rooms
        self._known: dict[str, SmallWebRTCConnection] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def get(self, pc_id: str) -> SmallWebRTCConnection:
        """Return a connection; NotFound when it is gone."""
        if pc_id not in self._known:
            raise NotFound(what=f"connection {pc_id!r}")
        return self._known[pc_id]

    def start(self, room: str, connection: SmallWebRTCConnection) -> None:
        """Hold a conversation over `connection` from now on; Overloaded when there is no place."""
        leaving = ExitStack()
        place = leaving.enter_context(self._rooms.place(room))
        task = asyncio.create_task(self._hold(place, leaving, connection), name=f"webrtc-{room}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _hold(
        self, place: Place, leaving: ExitStack, connection: SmallWebRTCConnection
    ) -> None:
        self._known[connection.pc_id] = connection
        try:
            with leaving:
                house = self._house()
                transport = webrtc.transport(connection, house.system.voice.sample_rate_hz)
                await converse(house, place, transport)
                if place.why is not None:  # a WebSocket's reason is counted with its request
                    house.metrics.error(place.why.code)
        finally:
            del self._known[connection.pc_id]
            await connection.disconnect()


def router(house: Callable[[], House], rooms: Rooms) -> APIRouter:
    """Return the routes."""
    routes = APIRouter()
    connections = Connections(house, rooms)

    @routes.post("/v1/offer")
    async def offer(wanted: Offer) -> dict[str, Any]:
        """Answer an offer; the conversation begins when the browser connects."""
        room = room_name(wanted.room)
        rooms.check(room)
        connection = await webrtc.connection(wanted.sdp)
        answer: dict[str, Any] = connection.get_answer()
        try:
            connections.start(room, connection)
        except Unavailable:
            await connection.disconnect()
            raise
        return {**answer, "room": room}

    @routes.patch("/v1/offer", status_code=204, response_model=None)
    async def late(wanted: LateCandidates) -> Response:
        """Take addresses that were found after the offer."""
        connection = connections.get(wanted.pc_id)
        for one in wanted.candidates:
            await webrtc.add_candidate(connection, one.candidate, one.sdp_mid, one.sdp_mline_index)
        return Response(status_code=204)

    @routes.get("/v1/rooms")
    async def every_room() -> dict[str, Any]:
        """Return the rooms that are connected and what each is doing since when (epoch, s)."""
        places = rooms.all()
        return {
            "rooms": [
                {"room": one.room, "state": one.state, "since_s": round(one.since_s, 3)}
                for one in places
            ]
        }

    return routes
