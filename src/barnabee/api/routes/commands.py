"""Route `POST /v1/command`: handles one utterance; its reply is one document or an event stream.

The handler is registered twice: as a plain Starlette route, which is matched first, and as a
FastAPI route for the OpenAPI document. FastAPI's dispatch takes 120 us of CPU and Starlette's 30;
a whole command takes 300.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel
from pydantic_core import to_json
from starlette.routing import Route

from barnabee.api.request_bodies import CommandRequest, parse_command
from barnabee.api.service import ApiService, get_service
from barnabee.core import tracing
from barnabee.core.errors import BarnabeeError
from barnabee.core.logging import make_utterance_fields
from barnabee.understanding.interfaces import SentenceSink

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

router = APIRouter()
_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": CommandRequest.model_json_schema()}},
    }
}


class CommandResponse(BaseModel):
    """Result of a command; `code` is the error code if it failed."""

    reply: str
    intent: str
    actions: list[dict[str, Any]]
    session_id: str
    trace_id: str
    degraded: list[str]
    code: str | None
    latency_ms: dict[str, float]


MEDIA_TYPE = "text/event-stream"
_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


class CommandStream(Response):
    """Response that runs a command and streams its reply: sentences as they are generated.

    `event: sentence` has `{"text"}`, `event: result` is the response without streaming, `event:
    error` its error. Nothing is sent before the first sentence or the result, so that an early
    error has its HTTP status. A client that leaves ends the generation; what was begun is completed
    and recorded.
    """

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
            event, data = "error", dict(error.body(tracing.get_trace_id()))
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


async def post_command(request: Request) -> Response:
    """Recognize an utterance, carry it out and return the reply.

    With `Accept: text/event-stream` the reply is streamed (`CommandStream`).
    """
    service = get_service(request)
    request.scope["route"] = route  # as FastAPI does; the metrics take their label from it
    service.rate_limiter.take(request.scope.get("barnabee.client", "local"))
    max_chars = service.system.limits.utterance_max_chars
    command = parse_command(await request.body(), max_chars=max_chars)
    if MEDIA_TYPE in request.headers.get("accept", ""):
        return CommandStream(partial(_run_command, request, service, command))
    result = await _run_command(request, service, command)
    return Response(to_json(result), media_type="application/json")


async def _run_command(
    request: Request,
    service: ApiService,
    command: CommandRequest,
    emit: SentenceSink | None = None,
) -> dict[str, Any]:
    """Return the result of the command, which is logged with the request and published."""
    result = await service.command_handler.handle(command, emit=emit)
    request.scope["barnabee.log"] = {  # added to the log record of this request
        "session_id": result["session_id"],
        "user_id": command.speaker,
        "stage": "command",
        "intent": result["intent"],
        "degraded": result["degraded"],
        "stages_ms": result["latency_ms"],
        **make_utterance_fields(command.utterance, allowed=service.settings.log_utterances),
    }
    if command.kept and service.event_bus.has_subscribers:
        service.event_bus.publish("turn", _make_event(command, result))
    if result["code"]:
        request.scope["barnabee.code"] = result["code"]
    return result


def _make_event(command: CommandRequest, result: dict[str, Any]) -> dict[str, Any]:
    """Return the data of a `TurnEvent`."""
    names = ("trace_id", "session_id", "reply", "intent", "degraded", "code")
    fields = {name: result[name] for name in names}
    total_ms = result["latency_ms"]["total"]
    return fields | {"utterance": command.utterance, "total_ms": total_ms}


PATH = "/v1/command"
route = Route(PATH, post_command, methods=["POST"])
router.add_api_route(
    PATH, post_command, methods=["POST"], response_model=CommandResponse, openapi_extra=_BODY
)
