"""The ledger of the card, and moving a model by hand: asked of the gpu service for the page."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request

from barnabee.api.schemas.vram import Ledger, Moved
from barnabee.api.service import service_of

router = APIRouter()
LOOK_LIMIT_S = 3.0
MOVE_LIMIT_S = 60.0  # a load may have to wait for room: gpu.wait_limit_ms and the load itself
ModelId = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


@router.get("/api/gpu", response_model=Ledger)
async def ledger(request: Request) -> dict[str, Any]:
    """Return the ledger: what the card holds, for whom, and the last decisions and why."""
    return await service_of(request).neighbour("gpu").request_json("GET", "/v1/vram", limit_s=LOOK_LIMIT_S)


@router.post("/api/gpu/models/{model}/load", response_model=Moved)
async def load(request: Request, model: ModelId) -> dict[str, Any]:
    """Bring a model onto the card."""
    path = f"/v1/models/{model}/load"
    return await service_of(request).neighbour("gpu").request_json("POST", path, limit_s=MOVE_LIMIT_S)


@router.post("/api/gpu/models/{model}/unload", response_model=Moved)
async def unload(request: Request, model: ModelId) -> dict[str, Any]:
    """Take a model that nobody uses off the card."""
    path = f"/v1/models/{model}/unload"
    return await service_of(request).neighbour("gpu").request_json("POST", path, limit_s=MOVE_LIMIT_S)
