"""Routes of turns: sessions, the record of turns, turn timings and waterfalls.

The voice service reports turn timings with `POST /v1/turns/{trace_id}/spoken`.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel

from barnabee.api.request_bodies import TurnTimingsRequest, parse_turn_timings
from barnabee.api.schemas import (
    LogLine,
    TurnPage,
    TurnResponse,
    TurnTimingsEvent,
    TurnTimingsResponse,
    WaterfallResponse,
)
from barnabee.api.service import ApiService, get_service
from barnabee.clients.probe import read_budgets_ms
from barnabee.core.errors import NotFound, Unavailable
from barnabee.store.conversations import Conversations, TurnRecord, make_cursor
from barnabee.store.db import Database
from barnabee.store.turn_timings import TurnTimingsStore
from barnabee.store.waterfall import explain_latency, make_waterfall

router = APIRouter()

SessionId = Annotated[str, Path(pattern=r"^[A-Za-z0-9_.:-]{1,64}$")]
TraceId = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$")]
Limit = Annotated[int, Query(ge=1, le=200)]
_TIMINGS_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": TurnTimingsRequest.model_json_schema()}},
    }
}


class TurnTimingsStored(BaseModel):
    """Confirmation that timings are stored; `degraded` names unavailable dependencies."""

    trace_id: str
    degraded: list[str]


@router.get("/v1/sessions/{session_id}")
async def get_session(request: Request, session_id: SessionId) -> dict[str, Any]:
    """Return a conversation that has not expired (`session.ttl_s`)."""
    session = await get_service(request).sessions.load(session_id)
    if not session.turns:
        raise NotFound(what=f"session {session_id}")
    turns = [
        {"utterance": one.utterance, "reply": one.reply, "intent": one.intent.split()[0]}
        for one in session.turns
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
    """Return turns, newest first; `next` is the value of `before` for the next page."""
    database = await get_service(request).database_provider.database()
    records = await Conversations(database).list_turns(limit, before, session_id, search)
    cursor = make_cursor(records[-1]) if len(records) == limit else None
    return {"turns": await _add_timings(database, records), "next": cursor}


@router.get("/v1/turns/{trace_id}", response_model=TurnResponse)
async def get_turn(request: Request, trace_id: TraceId) -> dict[str, Any]:
    """Return one turn."""
    database = await get_service(request).database_provider.database()
    record = await Conversations(database).get_turn(trace_id)
    if record is None:
        raise NotFound(what=f"turn {trace_id}")
    return (await _add_timings(database, [record]))[0]


@router.post("/v1/turns/{trace_id}/spoken", status_code=202, openapi_extra=_TIMINGS_BODY)
async def post_turn_timings(request: Request, trace_id: TraceId) -> TurnTimingsStored:
    """Store the timings of a turn; further reports of the same turn change nothing."""
    service = get_service(request)
    timings = parse_turn_timings(await request.body())
    missing = await service.turn_writer.record_timings(trace_id, timings)
    service.event_bus.publish("spoken", TurnTimingsEvent(trace_id=trace_id, room=timings.room))
    request.scope["barnabee.log"] = {"stage": "spoken", "room": timings.room, "degraded": missing}
    return TurnTimingsStored(trace_id=trace_id, degraded=missing)


@router.get("/v1/turns/{trace_id}/spoken", response_model=TurnTimingsResponse)
async def get_turn_timings(request: Request, trace_id: TraceId) -> dict[str, Any]:
    """Return the timings of a turn; they exist without the turn if the command failed."""
    database = await get_service(request).database_provider.database()
    timings = await TurnTimingsStore(database).find([trace_id])
    if trace_id not in timings:
        raise NotFound(what=f"spoken turn {trace_id}")
    return timings[trace_id].as_dict()


@router.get("/v1/turns/{trace_id}/waterfall", response_model=WaterfallResponse)
async def get_waterfall(request: Request, trace_id: TraceId) -> WaterfallResponse:
    """Return the durations of a turn's stages, why it was slow, and its log records."""
    service = get_service(request)
    database = await service.database_provider.database()
    record = await Conversations(database).get_turn(trace_id)
    timings = (await TurnTimingsStore(database).find([trace_id])).get(trace_id)
    log_records = await _read_log(service, trace_id)
    if record is None and timings is None and not log_records:
        raise NotFound(what=f"turn {trace_id}")
    waterfall = make_waterfall(
        trace_id,
        record.as_dict() | {"spoken": None} if record else None,
        timings.as_dict() if timings else None,
        log_records or (),
        read_budgets_ms(service.system),
    )
    body = waterfall.as_dict() | {
        "why": explain_latency(waterfall, log_records or ()),
        "lines": None if log_records is None else [_make_log_line(one) for one in log_records],
    }
    return WaterfallResponse.model_validate(body)


async def _read_log(service: ApiService, trace_id: str) -> list[dict[str, Any]] | None:
    """Return the log records of a turn, None if the log is unavailable."""
    try:
        return await service.log_reader.read(trace_id)
    except Unavailable:
        return None


def _make_log_line(record: dict[str, Any]) -> LogLine:
    names = ("timestamp", "component", "level", "event")
    fields = {name: str(record.get(name) or "") for name in names}
    return LogLine(**fields, more={k: v for k, v in record.items() if k not in fields})


async def _add_timings(database: Database, records: list[TurnRecord]) -> list[dict[str, Any]]:
    """Return the turns with their timings as `spoken`, None for typed turns."""
    timings = await TurnTimingsStore(database).find([record.trace_id for record in records])
    bodies = {trace_id: one.as_dict() for trace_id, one in timings.items()}
    return [record.as_dict() | {"spoken": bodies.get(record.trace_id)} for record in records]
