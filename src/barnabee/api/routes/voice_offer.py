"""The way of a page to the voice: its offer and its addresses are handed on; sound goes directly.

A browser needs no second port and no second cookie, and one that was shown out gets no further.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from barnabee.api.service import get_service

router = APIRouter()
OFFER_LIMIT_S = 12.0
LATE_LIMIT_S = 5.0


class VoiceOffer(BaseModel):
    """What a browser offers (SDP), and how its room is called."""

    sdp: str = Field(min_length=1)
    type: str = "offer"
    room: str | None = None


class VoiceAnswer(BaseModel):
    """What the voice answers."""

    sdp: str
    type: str
    pc_id: str
    room: str


class VoiceIceCandidates(BaseModel):
    """Addresses that were found after the offer, in the browser's own words."""

    pc_id: str
    candidates: list[dict[str, Any]] = Field(max_length=64)


@router.post("/api/talk/offer", response_model=VoiceAnswer)
async def post_offer(request: Request, wanted: VoiceOffer) -> dict[str, Any]:
    """Begin a conversation."""
    body = wanted.model_dump(exclude_none=True)
    voice = get_service(request).neighbour("voice")
    return await voice.request_json("POST", "/v1/offer", limit_s=OFFER_LIMIT_S, json=body)


@router.patch("/api/talk/offer", status_code=204, response_class=Response)
async def patch_candidates(request: Request, wanted: VoiceIceCandidates) -> Response:
    """Hand on addresses that were found later."""
    voice = get_service(request).neighbour("voice")
    await voice.request_json("PATCH", "/v1/offer", limit_s=LATE_LIMIT_S, json=wanted.model_dump())
    return Response(status_code=204)
