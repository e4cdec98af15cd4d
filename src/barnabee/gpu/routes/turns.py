"""POST /v1/turns, DELETE /v1/turns/{id}: while somebody talks, what the turn needs stays loaded."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from barnabee.core.errors import NotFound

if TYPE_CHECKING:
    from barnabee.gpu.capabilities import Tasks


class Wanted(BaseModel):
    """Who talks; their requests carry the same name in the header X-Barnabee-Session."""

    session: str = Field(min_length=1, max_length=200)


def router(tasks: Tasks) -> APIRouter:
    """Return the routes."""
    routes = APIRouter()

    @routes.post("/v1/turns", status_code=201)
    async def begin(wanted: Wanted) -> dict[str, Any]:
        """Keep hearing, understanding and speaking on the card until the turn is over.

        A model that cannot be had is left out: its requests will say why. A turn that is never
        ended ends by itself after `card.turn_limit_ms`.
        """
        turn = secrets.token_hex(8)
        first = [task.first.name for task in tasks.of_a_turn()]
        turns, now_ms = tasks.manager.turns, tasks.manager.now_ms()
        models = await turns.begin(turn, wanted.session, first, now_ms=now_ms)
        return {"id": turn, "session": wanted.session, "models": models, "limit_ms": turns.limit_ms}

    @routes.delete("/v1/turns/{turn}", status_code=204, response_model=None)
    async def end(turn: str) -> Response:
        """End a turn."""
        if not tasks.manager.turns.end(turn):
            raise NotFound(what=f"turn {turn!r}")
        return Response(status_code=204)

    return routes
