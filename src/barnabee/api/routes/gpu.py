"""The ledger of the card, and moving a model by hand: asked of the gpu service for the page."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request

from barnabee.api.schemas import Schema
from barnabee.api.service import get_service

router = APIRouter()
READ_LIMIT_S = 3.0
MOVE_LIMIT_S = 60.0  # a load may have to wait for room: wait_limit_ms and the load itself
ModelId = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


@router.get("/api/gpu", response_model=VramLedgerResponse)
async def get_vram_ledger(request: Request) -> dict[str, Any]:
    """Return the ledger: what the card holds, for whom, and the last decisions and why."""
    return (
        await get_service(request)
        .neighbour("gpu")
        .request_json("GET", "/v1/vram", limit_s=READ_LIMIT_S)
    )


@router.post("/api/gpu/models/{model}/load", response_model=ModelMoved)
async def load_model(request: Request, model: ModelId) -> dict[str, Any]:
    """Bring a model onto the card."""
    path = f"/v1/models/{model}/load"
    return (
        await get_service(request).neighbour("gpu").request_json("POST", path, limit_s=MOVE_LIMIT_S)
    )


@router.post("/api/gpu/models/{model}/unload", response_model=ModelMoved)
async def unload_model(request: Request, model: ModelId) -> dict[str, Any]:
    """Take a model that nobody uses off the card."""
    path = f"/v1/models/{model}/unload"
    return (
        await get_service(request).neighbour("gpu").request_json("POST", path, limit_s=MOVE_LIMIT_S)
    )


class GpuMemory(Schema):
    """The card (or main memory, where there is none), in MiB."""

    name: str
    total_mib: int
    headroom_mib: int
    charged_mib: int
    held_mib: int
    base_mib: int
    other_mib: int
    free_mib: int
    measured_mib: int | None


class LeaseResponse(Schema):
    """Somebody who uses a model."""

    session: str | None
    left_ms: float


class ModelResponse(Schema):
    """A model in the ledger."""

    name: str
    id: str
    task: str
    state: str
    priority: int
    preload: bool
    declared_mib: int
    measured_mib: int
    charged_mib: int
    held_mib: int
    left_mib: int
    reload_ms: int
    unused_ms: float | None
    leases: list[LeaseResponse]
    code: str | None


class WaitingRequest(Schema):
    """Somebody who waits for a model."""

    model: str
    session: str | None
    waited_ms: float


class VramDecision(Schema):
    """What the ledger decided and why."""

    at: float
    decision: str
    model: str
    reason: str
    code: str | None
    charged_mib: int
    session: str | None


class VramLedgerResponse(Schema):
    """The memory of the card and who has it; the newest decision last."""

    card: GpuMemory
    models: list[ModelResponse]
    turns: dict[str, str | None]
    waiting: list[WaitingRequest]
    decisions: list[VramDecision]


class ModelMoved(Schema):
    """What became of a model that was loaded or unloaded by hand."""

    name: str
    state: str
