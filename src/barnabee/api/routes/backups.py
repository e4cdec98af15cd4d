"""How safe what the house remembers is, and asking for a drill now."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel

from barnabee.api.schemas.backups import BackupsNow
from barnabee.api.service import service_of
from barnabee.backup import status

router = APIRouter()


class Requested(BaseModel):
    """A drill was asked for; `GET /v1/backups` has its result under `drill.last` in time."""

    requested: bool


@router.get("/v1/backups", response_model=BackupsNow)
async def backups(request: Request) -> dict[str, Any]:
    """Return what `barnabee backup status --json` prints."""
    service = service_of(request)
    now = status.local_now(service.settings)
    return await status.collect_status(service.system, service.settings, now)


@router.post("/v1/backups/rehearse", status_code=202)
async def rehearse(request: Request) -> Requested:
    """Ask for a drill; it is begun within seconds by whoever does drills on this machine."""
    await asyncio.to_thread(status.request_drill, service_of(request).settings)
    return Requested(requested=True)
