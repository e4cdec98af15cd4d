"""Routes of the WebRTC signalling between the dashboard and the voice service.

Forwarded through the api, so that a browser needs no second port and cookie, and a revoked session
cannot connect. Audio is sent directly.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from barnabee.api.service import get_service
from barnabee.core.auth import ACTING_FOR_HEADER
from barnabee.core.http import CLIENT_KEY

router = APIRouter()
OFFER_LIMIT_S = 12.0
CANDIDATES_LIMIT_S = 5.0


class VoiceOffer(BaseModel):
    """SDP offer of a browser, and the name of its room."""

    sdp: str = Field(min_length=1)
    type: str = "offer"
    room: str | None = None


class VoiceAnswer(BaseModel):
    """SDP answer of the voice service."""

    sdp: str
    type: str
    pc_id: str
    room: str


class VoiceIceCandidates(BaseModel):
    """ICE candidates found after the offer, in the browser's format."""

    pc_id: str
    candidates: list[dict[str, Any]] = Field(max_length=64)


@router.post("/api/talk/offer", response_model=VoiceAnswer)
async def post_offer(request: Request, offer: VoiceOffer) -> dict[str, Any]:
    """Start a conversation."""
    body = offer.model_dump(exclude_none=True)
    client, caller = get_service(request).get_client("voice"), request.scope[CLIENT_KEY]
    headers = {ACTING_FOR_HEADER.decode(): caller.name}  # its revocation ends the conversation
    answer = await client.request_json(
        "POST", "/v1/offer", limit_s=OFFER_LIMIT_S, json=body, headers=headers
    )
    get_service(request).check_session(caller)  # revoked meanwhile
    return answer


@router.patch("/api/talk/offer", status_code=204, response_class=Response)
async def patch_candidates(request: Request, added: VoiceIceCandidates) -> Response:
    """Add ICE candidates to a conversation."""
    body = added.model_dump()
    client = get_service(request).get_client("voice")
    await client.request_json("PATCH", "/v1/offer", limit_s=CANDIDATES_LIMIT_S, json=body)
    return Response(status_code=204)
