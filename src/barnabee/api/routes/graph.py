"""What the house is made of, for the dashboard and for whoever asks; nothing secret is in it."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from barnabee import __version__
from barnabee.api.latency_explainer import WORDS
from barnabee.api.schemas.status import SystemShape
from barnabee.api.service import service_of
from barnabee.clients.probe import read_budgets_ms
from barnabee.core.schema import ServiceConfig, System

router = APIRouter()


@router.get("/api/system", response_model=SystemShape)
async def graph(request: Request) -> dict[str, Any]:
    """Return the public part of the system file this api runs with."""
    return public(service_of(request).system)


@router.get("/", include_in_schema=False)
async def home() -> dict[str, Any]:
    """Return where to go from here."""
    paths = {"health": "/health", "system": "/api/system", "turns": "/v1/turns"}
    return {"name": "BarnabeeNet", "version": __version__, "paths": paths}


def public(system: System) -> dict[str, Any]:
    """Return what anybody in the house may know of `system`. Pure."""
    return {
        "version": __version__,
        "services": {name: _service(one) for name, one in system.service.items()},
        "companions": {name: _service(one) for name, one in system.companion.items()},
        "models": {name: one.model_dump() for name, one in system.model.items()},
        "card": system.gpu.model_dump(),
        "voice": system.voice.model_dump(),
        "stage_budgets_ms": read_budgets_ms(system),
        "stage_titles": WORDS,
        "acceptance": system.acceptance.model_dump(),
        "filler": system.filler.model_dump(),
        "wake": {"words": list(system.wake.words)},
        "talk": system.talk.model_dump(),
        "limits": system.limits.model_dump(),
        "retention": system.retention.model_dump(),
        "hosts": {name: one.model_dump() for name, one in system.host.items()},
    }


def _service(service: ServiceConfig) -> dict[str, Any]:
    return service.model_dump(exclude={"credentials"})
