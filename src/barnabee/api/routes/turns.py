"""What was said before: the sessions of the moment, the record of turns, and how they were spoken.

`POST /v1/turns/{trace_id}/spoken` is how the voice adds to a turn what it alone could measure.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel

from barnabee.api.latency_explainer import explain_latency
from barnabee.api.schemas import LogLine, TurnTimingsEvent, TurnTimingsResponse, TurnPage, TurnResponse, WaterfallResponse
from barnabee.api.service import ApiService, get_service
from barnabee.api.request_bodies import TurnTimingsRequest, parse
from barnabee.clients.probe import read_budgets_ms
from barnabee.core.errors import NotFound, Unavailable
from barnabee.store.conversations import Conversations, TurnRecord, make_cursor
from barnabee.store.db import Database
from barnabee.store.turn_timings import TurnTimingsStore
from barnabee.store.waterfall import make_waterfall

router = APIRouter()

SessionId = Annotated[str, Path(pattern=r"^[A-Za-z0-9_.:-]{1,64}$")]
TraceId = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$")]
Limit = Annotated[int, Query(ge=1, le=200)]
_SPOKEN_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": TurnTimingsRequest.model_json_schema()}},
    }
}


class TurnTimingsStored(BaseModel):
    """It is kept; `degraded` names what was missing on the way."""

    trace_id: str
    degraded: list[str]


@router.get("/v1/sessions/{session_id}")
async def get_session(request: Request, session_id: SessionId) -> dict[str, Any]:
    """Return a conversation that is still remembered."""
    found = await get_service(request).sessions.load(session_id)
    if not found.turns:
        raise NotFound(what=f"session {session_id}")
    turns = [
        {"utterance": one.utterance, "reply": one.reply, "intent": one.intent.split()[0]}
        for one in found.turns
    ]
    return {"session_id": session_id, "turns": turns}


@router.get("/v1/turns", response_model=TurnPage)
async def list_turns(
    request: Request,
    limit: Limit = 50,
    before: Annotated[str | None, Query(max_length=64)] = None,
    session_id: Annotated[str | None, Query(max_length=64)] = None,
    search: Annotated[str | None, Query(max_length=200)] = None,
) -> dict[str, Any]:
    """Return turns, newest first; `next` is the `before` of the page that follows."""
    database = await get_service(request).database_provider.database()
    found = await Conversations(database).list_turns(limit, before, session_id, search)
    following = make_cursor(found[-1]) if len(found) == limit else None
    return {"turns": await _with_spoken(database, found), "next": following}


@router.get("/v1/turns/{trace_id}", response_model=TurnResponse)
async def get_turn(request: Request, trace_id: TraceId) -> dict[str, Any]:
    """Return one turn by its trace id."""
    database = await get_service(request).database_provider.database()
    found = await Conversations(database).get_turn(trace_id)
    if found is None:
        raise NotFound(what=f"turn {trace_id}")
    return (await _with_spoken(database, [found]))[0]


@router.post("/v1/turns/{trace_id}/spoken", status_code=202, openapi_extra=_SPOKEN_BODY)
async def post_turn_timings(request: Request, trace_id: TraceId) -> TurnTimingsStored:
    """Keep how a turn was heard and spoken; the first report of a turn counts."""
    told = parse(await request.body())
    missing = await get_service(request).recorder.record_spoken(trace_id, told)
    get_service(request).news.publish("spoken", TurnTimingsEvent(trace_id=trace_id, room=told.room))
    request.scope["barnabee.log"] = {"stage": "spoken", "room": told.room, "degraded": missing}
    return TurnTimingsStored(trace_id=trace_id, degraded=missing)


@router.get("/v1/turns/{trace_id}/spoken", response_model=TurnTimingsResponse)
async def get_turn_timings(request: Request, trace_id: TraceId) -> dict[str, Any]:
    """Return it; it may be there without the turn, when nothing came of what was said."""
    found = await TurnTimingsStore(await get_service(request).database_provider.database()).find([trace_id])
    if trace_id not in found:
        raise NotFound(what=f"spoken turn {trace_id}")
    return found[trace_id].as_dict()


@router.get("/v1/turns/{trace_id}/waterfall", response_model=WaterfallResponse)
async def get_waterfall(request: Request, trace_id: TraceId) -> WaterfallResponse:
    """Return where the time of a turn went, why it was slow, and its lines of the log."""
    service = get_service(request)
    database = await service.database_provider.database()
    found = await Conversations(database).get_turn(trace_id)
    spoken_of = await TurnTimingsStore(database).find([trace_id])
    lines = await _lines(service, trace_id)
    if found is None and trace_id not in spoken_of and not lines:
        raise NotFound(what=f"turn {trace_id}")
    turn_form = found.as_dict() | {"spoken": None} if found else None
    spoken_form = spoken_of[trace_id].as_dict() if trace_id in spoken_of else None
    limits_ms = read_budgets_ms(service.system)
    fall = make_waterfall(trace_id, turn_form, spoken_form, lines or (), limits_ms)
    shape = fall.as_dict() | {
        "why": explain_latency(fall, lines or ()),
        "lines": None if lines is None else [_line(one) for one in lines],
    }
    return WaterfallResponse.model_validate(shape)


async def _lines(service: ApiService, trace_id: str) -> list[dict[str, Any]] | None:
    """Return a turn's lines; a log that does not answer must not take the turn with it."""
    try:
        return await service.lines.of(trace_id)
    except Unavailable:
        return None


def _line(record: dict[str, Any]) -> LogLine:
    named = {name: str(record.get(name) or "") for name in ("timestamp", "component", "level")}
    named["event"] = str(record.get("event") or "")
    return LogLine(**named, more={k: v for k, v in record.items() if k not in named})


async def _with_spoken(database: Database, turns: list[TurnRecord]) -> list[dict[str, Any]]:
    """Return the turns with what the voice measured, None where it did not take part."""
    measured = await TurnTimingsStore(database).find([turn.trace_id for turn in turns])
    forms = {trace_id: spoken.as_dict() for trace_id, spoken in measured.items()}
    return [turn.as_dict() | {"spoken": forms.get(turn.trace_id)} for turn in turns]
