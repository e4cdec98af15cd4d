"""Event bus: server-sent events for the open dashboard pages.

Each subscriber has a bounded queue. One that does not read fast enough is disconnected; it
reconnects and gets the full state again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from pydantic_core import to_json

from barnabee.core.errors import Overloaded

MAX_SUBSCRIBERS = 64
MAX_QUEUED_EVENTS = 128
RETRY_AFTER_S = 5


class EventBus:
    """Publishes events to all subscribers without waiting for any of them."""

    def __init__(self) -> None:
        self._queues: set[asyncio.Queue[bytes | None]] = set()
        self._closed = False

    @property
    def has_subscribers(self) -> bool:
        """Whether any page is connected."""
        return bool(self._queues)

    def publish(self, event: str, data: Any) -> None:
        """Queue an event for every subscriber and disconnect those whose queue is full."""
        if not self._queues:
            return
        text = format_event(event, data)
        for queue in list(self._queues):
            if queue.full():
                self._disconnect(queue)
            else:
                queue.put_nowait(text)

    async def subscribe(self) -> AsyncIterator[bytes]:
        """Return the stream of future events; Overloaded at the limit or after `close`."""
        if len(self._queues) >= MAX_SUBSCRIBERS or self._closed:
            raise Overloaded(what="the event stream", retry_after_s=RETRY_AFTER_S)
        queue: asyncio.Queue[bytes | None] = asyncio.Queue(MAX_QUEUED_EVENTS)
        self._queues.add(queue)
        return self._read(queue)

    async def _read(self, queue: asyncio.Queue[bytes | None]) -> AsyncIterator[bytes]:
        try:
            while (text := await queue.get()) is not None:
                yield text
        finally:
            self._queues.discard(queue)

    def close(self) -> None:
        """End all streams and refuse new subscribers."""
        self._closed = True
        for queue in list(self._queues):
            self._disconnect(queue)

    def _disconnect(self, queue: asyncio.Queue[bytes | None]) -> None:
        self._queues.discard(queue)
        while queue.full():
            queue.get_nowait()
        queue.put_nowait(None)


def format_event(event: str, data: Any) -> bytes:
    """Return one server-sent event (WHATWG HTML, 9.2); JSON contains no line break. Pure."""
    return b"event: %s\ndata: %s\n\n" % (event.encode(), to_json(data))
