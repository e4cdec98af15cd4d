"""`POST /v1/command`: something was said; this is what came of it.

The same function is there twice: as a plain Starlette route, tried first, and as FastAPI's, which
is what the OpenAPI document describes. FastAPI's own way to a function takes 120 us of CPU,
Starlette's 30; a whole command takes 300.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel
from pydantic_core import to_json
from starlette.routing import Route

from barnabee.api.request_bodies import CommandRequest, parse
from barnabee.api.service import get_service
from barnabee.core.logging import make_utterance_fields

router = APIRouter()
_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": CommandRequest.model_json_schema()}},
    }
}


class CommandResponse(BaseModel):
    """What came of a command; `code` says what failed, in the words of `barnabee.core.errors`."""

    reply: str
    intent: str
    actions: list[dict[str, Any]]
    session_id: str
    trace_id: str
    degraded: list[str]
    code: str | None
    latency_ms: dict[str, float]


async def post_command(request: Request) -> Response:
    """Understand an utterance, do what it asks and say what is to be said."""
    service = get_service(request)
    request.scope["route"] = route  # what FastAPI does; the metrics are labelled by it
    service.limiter.take(request.scope.get("barnabee.client", "local"))
    said = parse(await request.body(), max_chars=service.system.limits.utterance_max_chars)
    answer = await service.dialogue.answer(said)
    request.scope["barnabee.log"] = {  # becomes part of the one line this request has in the log
        "session_id": answer["session_id"],
        "user_id": said.speaker,
        "stage": "command",
        "intent": answer["intent"],
        "degraded": answer["degraded"],
        "stages_ms": answer["latency_ms"],
        **make_utterance_fields(said.utterance, allowed=service.settings.log_utterances),
    }
    if said.kept and service.news.heard:
        service.news.publish("turn", _told(said, answer))
    if answer["code"]:
        request.scope["barnabee.code"] = answer["code"]
    return Response(to_json(answer), media_type="application/json")


def _told(said: CommandRequest, answer: dict[str, Any]) -> dict[str, Any]:
    """Return what open pages are told of a turn: a `TurnNow`."""
    fields = ("trace_id", "session_id", "reply", "intent", "degraded", "code")
    total_ms = answer["latency_ms"]["total"]
    told = {name: answer[name] for name in fields}
    return told | {"utterance": said.utterance, "total_ms": total_ms}


PATH = "/v1/command"
route = Route(PATH, post_command, methods=["POST"])
router.add_api_route(PATH, post_command, methods=["POST"], response_model=CommandResponse, openapi_extra=_BODY)
