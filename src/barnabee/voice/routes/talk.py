"""WebSocket /v1/talk?room=kitchen: the plain transport. docs/reference/voice.md is the protocol."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from starlette.routing import WebSocketRoute

from barnabee.core.errors import BadRequest
from barnabee.voice.pipeline import House, converse
from barnabee.voice.routes.names import room_name
from barnabee.voice.transports import websocket
from barnabee.voice.transports.websocket import TalkSocket

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from barnabee.voice.room_registry import Place, Rooms


PATH = "/v1/talk"


class Talk:
    """The route's ASGI application."""

    def __init__(self, house: Callable[[], House], rooms: Rooms) -> None:
        """Take the house when the first client comes: it is made at the start of the service."""
        self._house, self._rooms = house, rooms
        self.route = WebSocketRoute(PATH, self)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hold one conversation; what is wrong before it is accepted is plain HTTP."""
        scope["route"] = self.route  # what FastAPI does; the metrics are labelled by it
        socket = TalkSocket(scope, receive, send)
        unknown = set(socket.query_params) - {"room"}
        if unknown:
            raise BadRequest(field="query", reason=f"{min(unknown)!r} is not known, only `room`")
        name = room_name(socket.query_params.get("room"))
        with self._rooms.place(name) as place:
            await socket.accept()
            await self._talk(socket, place)

    async def _talk(self, socket: TalkSocket, place: Place) -> None:
        house = self._house()
        socket.why = lambda: place.why
        transport = websocket.transport(socket, place.end, house.system.voice.sample_rate_hz)
        try:
            await converse(house, place, transport)
        finally:
            if place.why is not None:
                socket.scope["barnabee.code"] = place.why.code
            await socket.close()


def route(house: Callable[[], House], rooms: Rooms) -> WebSocketRoute:
    """Return the route."""
    return Talk(house, rooms).route
