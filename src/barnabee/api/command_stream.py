"""Event stream of a command: sentences of its reply while they are generated, then the result.

`event: sentence` has `{"text"}`, `event: result` is the response without streaming, `event: error`
its error. Nothing is sent before the first sentence or the result, so that an early error has its
HTTP status. A client that leaves ends the generation; what was begun is completed and recorded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from pydantic_core import to_json
from starlette.responses import Response

from barnabee.core import trace_context
from barnabee.core.errors import BarnabeeError
from barnabee.understanding.interfaces import SentenceSink

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

MEDIA_TYPE = "text/event-stream"
_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


class CommandStream(Response):
    """Response that runs a command and streams its reply."""

    media_type = MEDIA_TYPE

    def __init__(self, run: Callable[[SentenceSink], Awaitable[dict[str, Any]]]) -> None:
        super().__init__(headers=_HEADERS)
        del self.headers["content-length"]
        self._run = run

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        sink = _QueuedSentences()
        running = asyncio.ensure_future(self._run(sink))
        running.add_done_callback(lambda _: sink.finish())
        leaving = asyncio.create_task(_wait_until_left(receive))
        leaving.add_done_callback(lambda _: sink.close())
        try:
            await self._send_events(sink, running, send)
        finally:
            leaving.cancel()
            await asyncio.gather(leaving, return_exceptions=True)

    async def _send_events(
        self, sink: _QueuedSentences, running: asyncio.Future[dict[str, Any]], send: Send
    ) -> None:
        has_started = False
        while (sentence := await sink.next()) is not None:
            await self._send(send, "sentence", {"text": sentence}, is_first=not has_started)
            has_started = True
        try:
            event, data = "result", await running
        except BarnabeeError as error:
            if not has_started:
                raise
            event, data = "error", dict(error.body(trace_context.get_trace_id()))
        await self._send(send, event, data, is_first=not has_started)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send(self, send: Send, event: str, data: dict[str, Any], *, is_first: bool) -> None:
        if is_first:
            start = {"status": self.status_code, "headers": self.raw_headers}
            await send({"type": "http.response.start", **start})
        body = b"event: %s\ndata: %s\n\n" % (event.encode(), to_json(data))
        await send({"type": "http.response.body", "body": body, "more_body": True})


class _QueuedSentences:
    """`SentenceSink` of one response."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[str | None] = asyncio.Queue()
        self._closed = asyncio.Event()

    async def __call__(self, sentence: str) -> None:
        self._queue.put_nowait(sentence)

    async def wait_closed(self) -> None:
        await self._closed.wait()

    async def next(self) -> str | None:
        """Return the next sentence, None when the command is complete."""
        return await self._queue.get()

    def finish(self) -> None:
        self._queue.put_nowait(None)

    def close(self) -> None:
        self._closed.set()


async def _wait_until_left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
