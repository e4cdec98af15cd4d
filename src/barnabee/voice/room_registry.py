"""Registry of connected rooms: one microphone for each, and a maximum in all.

A new connection of a room replaces the old one, so that a reloaded page or a restarted satellite
does not have to wait until its dead connection is noticed. A WebRTC offer occupies its room only
once its browser has connected.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from barnabee.core.errors import (
    BadRequest,
    BarnabeeError,
    DependencyDown,
    MicrophoneReplaced,
    Overloaded,
    Unauthorized,
)

CLOSE_TIMEOUT_S = 2.0
RETRY_AFTER_S = 5
# Offers whose browsers have not connected yet; the oldest makes way for a new one.
PENDING_MAX = 8
PENDING_PER_CLIENT_MAX = 2


@dataclass(eq=False)
class RoomSlot:
    """Slot of one room; its holder disconnects when `closed` is set."""

    room: str
    client: str = ""  # who connected it
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    reason: BarnabeeError | None = None  # why it was closed
    is_connected: bool = False
    state: str = "asleep"
    since_s: float = field(default_factory=time.time)

    def set_state(self, state: str) -> None:
        self.state, self.since_s = state, time.time()

    def close(self, reason: BarnabeeError | None = None) -> None:
        """Ask the holder to disconnect; the first reason is kept."""
        if not self.closed.is_set():
            self.reason = reason
            self.closed.set()


class RoomRegistry:
    """Slots of at most `max_rooms` rooms; `on_change` receives the number of connected rooms."""

    def __init__(self, max_rooms: int, on_change: Callable[[int], None]) -> None:
        self._max_rooms, self._on_change = max_rooms, on_change
        self._slots: dict[str, RoomSlot] = {}
        self._held: dict[RoomSlot, None] = {}  # also pending and replaced ones, oldest first
        self._closing = False
        self._empty = asyncio.Event()
        self._empty.set()

    def check_available(self, room: str) -> None:
        """Raise Overloaded when there is no slot for `room`, DependencyDown during shutdown."""
        if self._closing:
            raise DependencyDown(dependency="voice", reason="the service is shutting down")
        if room not in self._slots and len(self._slots) >= self._max_rooms:
            what = f"voice ({self._max_rooms} rooms are connected)"
            raise Overloaded(what=what, retry_after_s=RETRY_AFTER_S)

    @contextmanager
    def hold_slot(
        self, room: str, client: str = "", *, pending: bool = False
    ) -> Iterator[RoomSlot]:
        """Hold the slot of a room; one that is `pending` occupies the room from `connect` on."""
        self.check_available(room)
        slot = RoomSlot(room, client)
        if pending:
            self._replace_pending(slot)
        else:
            self.connect(slot)
        self._held[slot] = None
        self._changed()
        try:
            yield slot
        finally:
            del self._held[slot]
            if self._slots.get(room) is slot:
                del self._slots[room]
            self._changed()

    def connect(self, slot: RoomSlot) -> None:
        """Occupy the room of a slot; its previous holder is asked to disconnect."""
        self.check_available(slot.room)
        before = self._slots.get(slot.room)
        if before is not None:
            before.close(MicrophoneReplaced(room=slot.room))
        slot.is_connected, slot.since_s = True, time.time()
        self._slots[slot.room] = slot
        self._changed()

    def _replace_pending(self, slot: RoomSlot) -> None:
        pending = [each for each in self._held if not (each.is_connected or each.closed.is_set())]
        same = [each for each in pending if (each.client, each.room) == (slot.client, slot.room)]
        others = [each for each in pending if each not in same]
        own = [each for each in others if each.client == slot.client]
        replaced = {*same, *own[: 1 - PENDING_PER_CLIENT_MAX], *others[: 1 - PENDING_MAX]}
        for each in replaced:
            each.close(MicrophoneReplaced(room=each.room))

    def list_slots(self) -> list[RoomSlot]:
        """Return the slots of the connected rooms, sorted by room."""
        return sorted(self._slots.values(), key=lambda slot: slot.room)

    def end_client(self, client: str) -> None:
        """Close all slots of a client that was revoked."""
        for slot in list(self._held):
            if slot.client == client:
                slot.close(Unauthorized())

    async def close(self) -> None:
        """Refuse new rooms and close all slots; wait briefly for the clients to be informed."""
        self._closing = True
        for slot in list(self._held):
            slot.close(DependencyDown(dependency="voice", reason="the service is shutting down"))
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._empty.wait()

    def _changed(self) -> None:
        self._on_change(len(self._slots))
        (self._empty.clear if self._held else self._empty.set)()


DEFAULT_ROOM = "home"  # for a client that names no room
ROOM_NAME_PATTERN = r"^[a-z][a-z0-9_-]{0,31}$"
_ROOM_NAME = re.compile(ROOM_NAME_PATTERN)


def parse_room_name(given: str | None) -> str:
    """Return a valid room name, `DEFAULT_ROOM` for None or ""; BadRequest otherwise."""
    if not given:
        return DEFAULT_ROOM
    if not _ROOM_NAME.match(given) or given.endswith("\n"):
        reason = "use up to 32 of a-z, 0-9, _ and -, beginning with a letter"
        raise BadRequest(field="parameter `room`", reason=reason)
    return given
