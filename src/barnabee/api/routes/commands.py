"""Route `POST /v1/command`: handles one utterance.

The handler is registered twice: as a plain Starlette route, which is matched first, and as a
FastAPI route for the OpenAPI document. FastAPI's dispatch takes 120 us of CPU and Starlette's 30;
a whole command takes 300.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel
from pydantic_core import to_json
from starlette.routing import Route

from barnabee.api.command_stream import MEDIA_TYPE, CommandStream
from barnabee.api.request_bodies import CommandRequest, parse_command
from barnabee.api.service import ApiService, get_service
from barnabee.core.logging import make_utterance_fields
from barnabee.understanding.interfaces import SentenceSink

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


async def post_command(request: Request) -> Response:
    """Recognize an utterance, carry it out and return the reply.

    With `Accept: text/event-stream` the reply is streamed (`command_stream`).
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
