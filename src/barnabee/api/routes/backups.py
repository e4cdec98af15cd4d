"""Routes of the backups: their status, and a request for a restore drill."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel

from barnabee.api.schemas import ExtensibleSchema
from barnabee.api.service import get_service
from barnabee.backup import status

router = APIRouter()


class DrillResponse(ExtensibleSchema):
    """Result of one restore drill."""

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
    """Past restore drills, the newest last in `history`, and the time of the next one."""

    last: DrillResponse | None
    last_verified_at: str | None
    next_at: str
    requested: bool
    history: list[DrillResponse]


class ReplicaResponse(ExtensibleSchema):
    """State of the replica."""

    url: str
    lag_transactions: int | None
    error: str | None


class SnapshotResponse(ExtensibleSchema):
    """Newest daily snapshot, the number of snapshots, and why it is only a plain copy."""

    newest: str | None
    at: str | None
    bytes: int | None
    encrypted: bool | None
    count: int
    missing: str | None
    next_at: str


class BackupsResponse(ExtensibleSchema):
    """State of the backups; `warnings` are sentences."""

    replica: ReplicaResponse
    snapshot: SnapshotResponse
    drill: DrillsResponse
    recovery_kit: bool
    offsite: str | None
    warnings: list[str]


class DrillRequested(BaseModel):
    """Confirmation that a drill was requested; `GET /v1/backups` has its result in `drill.last`."""

    requested: bool


@router.get("/v1/backups", response_model=BackupsResponse)
async def get_backups(request: Request) -> dict[str, Any]:
    """Return the same as `barnabee backup status --json`."""
    service = get_service(request)
    now = status.local_now(service.settings)
    return await status.collect_status(service.system, service.settings, now)


@router.post("/v1/backups/rehearse", status_code=202)
async def request_drill(request: Request) -> DrillRequested:
    """Request a restore drill; the worker starts it within seconds."""
    await asyncio.to_thread(status.request_drill, get_service(request).settings)
    return DrillRequested(requested=True)
