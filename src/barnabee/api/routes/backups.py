"""How safe what the house remembers is, and asking for a drill now."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel

from barnabee.api.schemas import ExtensibleSchema
from barnabee.api.service import get_service
from barnabee.backup import status

router = APIRouter()


class DrillRequested(BaseModel):
    """A drill was asked for; `GET /v1/backups` has its result under `drill.last` in time."""

    requested: bool


@router.get("/v1/backups", response_model=BackupsResponse)
async def get_backups(request: Request) -> dict[str, Any]:
    """Return what `barnabee backup status --json` prints."""
    service = get_service(request)
    now = status.local_now(service.settings)
    return await status.collect_status(service.system, service.settings, now)


@router.post("/v1/backups/rehearse", status_code=202)
async def request_drill(request: Request) -> DrillRequested:
    """Ask for a drill; it is begun within seconds by whoever does drills on this machine."""
    await asyncio.to_thread(status.request_drill, get_service(request).settings)
    return DrillRequested(requested=True)


class DrillResponse(ExtensibleSchema):
    """One drill: the newest copies, restored to scratch and compared."""

    started_at: str
    took_ms: int
    success: bool
    step: str | None
    code: str | None
    reason: str | None
    restore_ms: int
    bytes: int
    rows: int
    snapshot: str | None
    offsite: bool


class DrillsResponse(ExtensibleSchema):
    """What drills there were and when the next one is; the newest last."""

    last: DrillResponse | None
    last_verified_at: str | None
    next_at: str
    requested: bool
    history: list[DrillResponse]


class ReplicaResponse(ExtensibleSchema):
    """The stream of the database to its copy."""

    url: str
    lag_transactions: int | None
    error: str | None


class SnapshotResponse(ExtensibleSchema):
    """The newest daily snapshot, and how many are kept."""

    newest: str | None
    at: str | None
    bytes: int | None
    encrypted: bool | None
    count: int
    next_at: str


class BackupsResponse(ExtensibleSchema):
    """How safe what the house remembers is; `warnings` are sentences."""

    replica: ReplicaResponse
    snapshot: SnapshotResponse
    drill: DrillsResponse
    calls_today: dict[str, int]
    recovery_key: bool
    offsite: str | None
    warnings: list[str]
