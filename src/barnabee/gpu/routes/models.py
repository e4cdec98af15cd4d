"""GET /v1/models: which models there are and how each is; POST …/load and …/unload by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import APIRouter

from barnabee.core.errors import BarnabeeError

if TYPE_CHECKING:
    from barnabee.gpu.capabilities import Tasks
    from barnabee.gpu.model_runtime import Slot


def router(tasks: Tasks) -> APIRouter:
    """Return the routes."""
    routes = APIRouter()

    @routes.get("/v1/models")
    async def every() -> dict[str, Any]:
        """Return all models."""
        rows = [_row(slot) for task in tasks.all() for slot in task.slots]
        return {"object": "list", "data": rows}

    @routes.get("/v1/models/{model}")
    async def one(model: str) -> dict[str, Any]:
        """Return one model."""
        return _row(tasks.find(model))

    @routes.post("/v1/models/{model}/load")
    async def load(model: str) -> dict[str, Any]:
        """Bring a model onto the card, if it can be had; return it when it is there."""
        slot = tasks.find(model)
        async with tasks.manager.lease(slot.name):
            return _row(slot)

    @routes.post("/v1/models/{model}/unload")
    async def unload(model: str) -> dict[str, Any]:
        """Take a model off the card; it comes back when somebody asks for it."""
        slot = tasks.find(model)
        await tasks.manager.unload(slot.name)
        return _row(slot)

    return routes


def _row(slot: Slot[Any]) -> dict[str, Any]:
    row: dict[str, Any] = {
        "id": slot.model,
        "object": "model",
        "created": 0,
        "owned_by": "barnabee",
        "name": slot.name,
        "task": slot.task,
        "state": slot.state.value,
    }
    if slot.error is not None:
        row["error"] = {"code": slot.error.code, "message": str(slot.error)}
    try:
        engine: object = slot.check()
    except BarnabeeError:
        engine = None
    for kind in ("voices", "words"):
        row[kind] = list(getattr(engine, kind, ())) or None
    return row
