"""Routes of the voice service: signaling, WebSocket transport, rooms, rings and announcements."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated, Any, Literal

import structlog
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field
from starlette.routing import WebSocketRoute

from barnabee.core.errors import BadRequest, Forbidden, NotFound, Unauthorized, Unavailable
from barnabee.core.http import CLIENT_KEY, HOLD_KEY
from barnabee.core.tokens import Scope as TokenScope
from barnabee.voice.announcements import AnnouncementBoard
from barnabee.voice.pipeline import SharedServices, run_conversation
from barnabee.voice.room_registry import DEFAULT_ROOM, ROOM_NAME_PATTERN, parse_room_name
from barnabee.voice.transports import webrtc, websocket
from barnabee.voice.transports.websocket import TalkSocket

if TYPE_CHECKING:
    from pipecat.transports.smallwebrtc.connection import SmallWebRTCConnection
    from starlette.types import Receive, Scope, Send

    from barnabee.voice.room_registry import RoomRegistry, RoomSlot

TALK_PATH = "/v1/talk"
MAX_SDP_CHARS = 48 * 1024

log = structlog.get_logger()


class SessionOffer(BaseModel):
    """SDP offer of a browser."""

    sdp: str = Field(min_length=1, max_length=MAX_SDP_CHARS)
    type: Literal["offer"] = "offer"
    room: str = DEFAULT_ROOM


class IceCandidate(BaseModel):
    """Trickled ICE candidate, with the field names of the browser API."""

    candidate: str = Field(max_length=1024)
    sdp_mid: str | None = Field(None, alias="sdpMid", max_length=64)
    sdp_mline_index: int | None = Field(None, alias="sdpMLineIndex", ge=0, le=16)


class IceCandidates(BaseModel):
    """Trickled candidates of one connection."""

    pc_id: str = Field(max_length=128)
    candidates: list[IceCandidate] = Field(max_length=64)


class WebRtcConnections:
    """WebRTC connections by their id, and the tasks that run their conversations."""

    def __init__(self, get_shared: Callable[[], SharedServices], rooms: RoomRegistry) -> None:
        self._get_shared, self._rooms = get_shared, rooms
        self._connections: dict[str, SmallWebRTCConnection] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def get(self, pc_id: str) -> SmallWebRTCConnection:
        """Return an open connection; NotFound otherwise."""
        if pc_id not in self._connections:
            raise NotFound(what=f"connection {pc_id!r}")
        return self._connections[pc_id]

    def start(self, room: str, connection: SmallWebRTCConnection, request: Scope) -> None:
        """Start a conversation once the browser connects; Overloaded when no slot is free."""
        stack = ExitStack()
        slot = stack.enter_context(
            self._rooms.hold_slot(room, get_client_name(request), pending=True)
        )
        if HOLD_KEY in request:
            stack.callback(request[HOLD_KEY](lambda: slot.close(Unauthorized())))
        task = asyncio.create_task(self._run(slot, stack, connection), name=f"webrtc-{room}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(
        self, slot: RoomSlot, stack: ExitStack, connection: SmallWebRTCConnection
    ) -> None:
        self._connections[connection.pc_id] = connection
        try:
            with stack:
                shared = self._get_shared()
                if await self._connect(slot, connection):
                    rate_hz = shared.system.voice.sample_rate_hz
                    transport = webrtc.make_transport(connection, rate_hz)
                    await run_conversation(shared, slot, transport)
                if slot.reason is not None:  # on a WebSocket it is counted with the request
                    shared.metrics.count_error(slot.reason.code)
        finally:
            del self._connections[connection.pc_id]
            await connection.disconnect()

    async def _connect(self, slot: RoomSlot, connection: SmallWebRTCConnection) -> bool:
        if not await webrtc.wait_until_connected(connection, slot.closed):
            log.info("offer_not_used", room=slot.room)
            return False
        try:
            self._rooms.connect(slot)
        except Unavailable as error:
            slot.close(error)
        return slot.is_connected


def make_router(get_shared: Callable[[], SharedServices], rooms: RoomRegistry) -> APIRouter:
    router = APIRouter()
    connections = WebRtcConnections(get_shared, rooms)

    @router.post("/v1/offer")
    async def answer_offer(request: Request, offer: SessionOffer) -> dict[str, Any]:
        """Answer an SDP offer; the conversation begins when the browser connects."""
        room = parse_room_name(offer.room)
        rooms.check_available(room)
        connection = await webrtc.open_connection(offer.sdp)
        answer: dict[str, Any] = connection.get_answer()
        try:
            connections.start(room, connection, request.scope)
        except Unavailable:
            await connection.disconnect()
            raise
        return {**answer, "room": room}

    @router.patch("/v1/offer", status_code=204, response_model=None)
    async def add_candidates(trickled: IceCandidates) -> Response:
        """Add ICE candidates that were found after the offer."""
        connection = connections.get(trickled.pc_id)
        for each in trickled.candidates:
            await webrtc.add_candidate(
                connection, each.candidate, each.sdp_mid, each.sdp_mline_index
            )
        return Response(status_code=204)

    @router.get("/v1/rooms")
    async def list_rooms() -> dict[str, Any]:
        """Return the connected rooms, with their state and since when (Unix time, s)."""
        return {
            "rooms": [
                {"room": slot.room, "state": slot.state, "since_s": round(slot.since_s, 3)}
                for slot in rooms.list_slots()
            ]
        }

    @router.delete("/v1/rooms", status_code=204, response_model=None)
    async def end_rooms(request: Request, client: str) -> Response:
        """Disconnect the rooms of a browser whose session was revoked; for our services only."""
        if not request.scope[CLIENT_KEY].is_service:
            raise Forbidden(required=TokenScope.ADMIN, given=request.scope[CLIENT_KEY].scope)
        rooms.end_client(client)
        return Response(status_code=204)

    return router


def get_client_name(scope: Scope) -> str:
    """Return the name of the client of a request, or of the one that the api acts for."""
    client = scope.get(CLIENT_KEY)
    return "" if client is None else client.acting_for or client.name


class TalkApp:
    """WebSocket /v1/talk?room=kitchen; docs/reference/voice.md has the protocol."""

    def __init__(self, get_shared: Callable[[], SharedServices], rooms: RoomRegistry) -> None:
        self._get_shared, self._rooms = get_shared, rooms
        self.route = WebSocketRoute(TALK_PATH, self)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run one conversation; errors before the handshake are HTTP responses."""
        scope["route"] = self.route  # as FastAPI sets it; a label of the metrics
        socket = TalkSocket(scope, receive, send)
        unknown = set(socket.query_params) - {"room"}
        if unknown:
            raise BadRequest(
                field="query", reason=f"{min(unknown)!r} is unknown; only `room` is allowed"
            )
        name = parse_room_name(socket.query_params.get("room"))
        with self._rooms.hold_slot(name, get_client_name(scope)) as slot:
            await socket.accept()
            await self._talk(socket, slot)

    async def _talk(self, socket: TalkSocket, slot: RoomSlot) -> None:
        shared = self._get_shared()
        socket.get_close_reason = lambda: slot.reason
        transport = websocket.make_transport(socket, slot.close, shared.system.voice.sample_rate_hz)
        try:
            await run_conversation(shared, slot, transport)
        finally:
            if slot.reason is not None:
                socket.scope["barnabee.code"] = slot.reason.code
            await socket.close()


def make_talk_route(
    get_shared: Callable[[], SharedServices], rooms: RoomRegistry
) -> WebSocketRoute:
    return TalkApp(get_shared, rooms).route


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
        raise Forbidden(required=TokenScope.ADMIN, given=client.scope)
