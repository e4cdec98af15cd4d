"""GET /v1/models: which models there are and how each is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import APIRouter

from barnabee.core.errors import BarnabeeError, NotFound

if TYPE_CHECKING:
    from barnabee.gpu.slots import Slot, Slots


def router(slots: Slots) -> APIRouter:
    """Return the routes."""
    routes = APIRouter()

    @routes.get("/v1/models")
    async def every() -> dict[str, Any]:
        """Return all models."""
        return {"object": "list", "data": [_row(slot) for slot in slots.all()]}

    @routes.get("/v1/models/{model}")
    async def one(model: str) -> dict[str, Any]:
        """Return one model."""
        for slot in slots.all():
            if model == slot.model or model in slot.aliases:
                return _row(slot)
        raise NotFound(what=f"model {model!r}")

    return routes


def _row(slot: Slot[Any]) -> dict[str, Any]:
    row: dict[str, Any] = {
        "id": slot.model,
        "object": "model",
        "created": 0,
        "owned_by": "barnabee",
        "task": slot.task,
        "state": slot.state.value,
    }
    if slot.error is not None:
        row["error"] = {"code": slot.error.code, "message": str(slot.error)}
    try:
        row["voices"] = list(getattr(slot.check(), "voices", ())) or None
    except BarnabeeError:
        row["voices"] = None
    return row
