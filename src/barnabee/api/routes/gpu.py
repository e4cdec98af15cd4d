"""Routes of the GPU memory: the VRAM ledger, and loading or unloading a model.

All requests are forwarded to the gpu service.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request

from barnabee.api.schemas import Schema
from barnabee.api.service import get_service
from barnabee.core.auth import make_token_reader
from barnabee.core.tokens import Scope

router = APIRouter()
READ_LIMIT_S = 3.0
MOVE_LIMIT_S = 60.0  # a load may wait for memory: gpu.wait_limit_ms plus the load itself
ModelId = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


class GpuMemory(Schema):
    """Memory of the GPU, or main memory without one, in MiB."""

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
    """Lease of a model."""

    session: str | None
    left_ms: float


class ModelResponse(Schema):
    """Model in the ledger."""

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
    """Request that waits for a model."""

    model: str
    session: str | None
    waited_ms: float


class VramDecision(Schema):
    """Decision of the VRAM manager."""

    at: float
    decision: str
    model: str
    reason: str
    code: str | None
    charged_mib: int
    session: str | None


class VramLedgerResponse(Schema):
    """VRAM ledger; the newest decision is last."""

    card: GpuMemory
    models: list[ModelResponse]
    turns: dict[str, str | None]
    waiting: list[WaitingRequest]
    decisions: list[VramDecision]


class ModelMoved(Schema):
    """State of a model after it was loaded or unloaded."""

    name: str
    state: str


@router.get("/api/gpu", response_model=VramLedgerResponse)
async def get_vram_ledger(request: Request) -> dict[str, Any]:
    """Return the VRAM ledger: models, leases, waiting requests and the last decisions."""
    client = get_service(request).get_client("gpu")
    return await client.request_json("GET", "/v1/vram", limit_s=READ_LIMIT_S)


@router.post("/api/gpu/models/{model}/load", response_model=ModelMoved)
async def load_model(request: Request, model: ModelId) -> dict[str, Any]:
    """Load a model into GPU memory."""
    return await _move_model(request, f"/v1/models/{model}/load")


@router.post("/api/gpu/models/{model}/unload", response_model=ModelMoved)
async def unload_model(request: Request, model: ModelId) -> dict[str, Any]:
    """Unload a model that has no lease."""
    return await _move_model(request, f"/v1/models/{model}/unload")


async def _move_model(request: Request, path: str) -> dict[str, Any]:
    client, token = get_service(request).get_client("gpu"), make_token_reader(Scope.ADMIN)
    return await client.request_json("POST", path, limit_s=MOVE_LIMIT_S, token=token)
