"""What was said before: the sessions of the moment and the record of turns."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request

from barnabee.api.service import service_of
from barnabee.core.errors import NotFound
from barnabee.store.conversations import Conversations, cursor

router = APIRouter()

SessionId = Annotated[str, Path(pattern=r"^[A-Za-z0-9_.:-]{1,64}$")]
TraceId = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$")]
Limit = Annotated[int, Query(ge=1, le=200)]


@router.get("/v1/sessions/{session_id}")
async def session(request: Request, session_id: SessionId) -> dict[str, Any]:
    """Return a conversation that is still remembered."""
    found = await service_of(request).sessions.load(session_id)
    if not found.turns:
        raise NotFound(what=f"session {session_id}")
    turns = [
        {"utterance": one.utterance, "reply": one.reply, "intent": one.intent.split()[0]}
        for one in found.turns
    ]
    return {"session_id": session_id, "turns": turns}


@router.get("/v1/turns")
async def turns(
    request: Request,
    limit: Limit = 50,
    before: Annotated[str | None, Query(max_length=64)] = None,
    session_id: Annotated[str | None, Query(max_length=64)] = None,
) -> dict[str, Any]:
    """Return turns, newest first; `next` is the `before` of the page that follows."""
    conversations = Conversations(await service_of(request).keeper.database())
    found = await conversations.turns(limit, before, session_id)
    following = cursor(found[-1]) if len(found) == limit else None
    return {"turns": [turn.as_dict() for turn in found], "next": following}


@router.get("/v1/turns/{trace_id}")
async def turn(request: Request, trace_id: TraceId) -> dict[str, Any]:
    """Return one turn by its trace id."""
    found = await Conversations(await service_of(request).keeper.database()).turn(trace_id)
    if found is None:
        raise NotFound(what=f"turn {trace_id}")
    return found.as_dict()
