"""What the open pages are told as it happens: one queue for each, and nobody waited for.

A page that does not read fast enough is let go; it connects again and is told everything afresh.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from pydantic_core import to_json

from barnabee.core.errors import Overloaded

PAGES_MAX = 64
QUEUE_MAX = 128
RETRY_AFTER_S = 5


class News:
    """Hands on what is published to whoever listens."""

    def __init__(self) -> None:
        """Begin with no page."""
        self._pages: set[asyncio.Queue[bytes | None]] = set()
        self._ended = False

    @property
    def heard(self) -> bool:
        """Return whether anybody listens."""
        return bool(self._pages)

    def publish(self, event: str, data: Any) -> None:
        """Tell every page."""
        if not self._pages:
            return
        text = event_text(event, data)
        for page in list(self._pages):
            if page.full():
                self._let_go(page)
            else:
                page.put_nowait(text)

    async def listen(self) -> AsyncIterator[bytes]:
        """Return what is published from now on."""
        if len(self._pages) >= PAGES_MAX or self._ended:
            raise Overloaded(what="the stream of events", retry_after_s=RETRY_AFTER_S)
        page: asyncio.Queue[bytes | None] = asyncio.Queue(QUEUE_MAX)
        self._pages.add(page)
        return self._stream(page)

    async def _stream(self, page: asyncio.Queue[bytes | None]) -> AsyncIterator[bytes]:
        try:
            while (text := await page.get()) is not None:
                yield text
        finally:
            self._pages.discard(page)

    def end(self) -> None:
        """Let everybody go: the service ends."""
        self._ended = True
        for page in list(self._pages):
            self._let_go(page)

    def _let_go(self, page: asyncio.Queue[bytes | None]) -> None:
        self._pages.discard(page)
        while page.full():
            page.get_nowait()
        page.put_nowait(None)


def event_text(event: str, data: Any) -> bytes:
    """Return one server-sent event (WHATWG HTML, 9.2); JSON holds no line break. Pure."""
    return b"event: %s\ndata: %s\n\n" % (event.encode(), to_json(data))
