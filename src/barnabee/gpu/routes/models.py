"""Model routes: GET /v1/models, load and unload, GET /v1/vram, POST and DELETE /v1/turns."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from barnabee.core.errors import BarnabeeError, NotFound

if TYPE_CHECKING:
    from barnabee.gpu.capabilities import Capabilities
    from barnabee.gpu.model_runtime import ModelRuntime
    from barnabee.gpu.vram.manager import VramManager
    from barnabee.gpu.vram.types import LedgerEvent


class TurnRequest(BaseModel):
    """Start of a turn; its requests send the same name in the header X-Barnabee-Session."""

    session: str = Field(min_length=1, max_length=200)


def make_router(capabilities: Capabilities) -> APIRouter:
    routes = APIRouter()
    manager = capabilities.manager

    @routes.get("/v1/models")
    async def list_models() -> dict[str, Any]:
        runtimes = [one for capability in capabilities.all() for one in capability.runtimes]
        return {"object": "list", "data": [_show_model(runtime) for runtime in runtimes]}

    @routes.get("/v1/models/{model}")
    async def get_model(model: str) -> dict[str, Any]:
        return _show_model(capabilities.find_runtime(model))

    @routes.post("/v1/models/{model}/load")
    async def load_model(model: str) -> dict[str, Any]:
        """Load a model, evicting less important ones if needed."""
        runtime = capabilities.find_runtime(model)
        async with manager.lease(runtime.name):
            return _show_model(runtime)

    @routes.post("/v1/models/{model}/unload")
    async def unload_model(model: str) -> dict[str, Any]:
        """Unload a model until the next request for it."""
        runtime = capabilities.find_runtime(model)
        await manager.unload(runtime.name)
        return _show_model(runtime)

    @routes.get("/v1/vram")
    async def get_vram() -> dict[str, Any]:
        """Return the ledger; memory in MiB, times in ms, the latest decision last."""
        return {
            "card": _show_memory(manager),
            "models": [_show_vram_model(manager, name) for name in manager.ledger.reservations],
            "turns": {name: turn.session for name, turn in manager.turns},
            "waiting": _show_waiting(manager),
            "decisions": [_show_decision(*pair) for pair in manager.decisions],
        }

    _add_turn_routes(routes, capabilities)
    return routes


def _add_turn_routes(routes: APIRouter, capabilities: Capabilities) -> None:
    manager = capabilities.manager

    @routes.post("/v1/turns", status_code=201)
    async def begin_turn(request: TurnRequest, connection: Request) -> dict[str, Any]:
        """Keep the models for STT, embedding and TTS loaded until the turn ends.

        A model that cannot be loaded is left out: the requests for it report why. A turn that is
        not ended expires after `gpu.turn_limit_ms`. One whose client has left ends at once.
        """
        turn = secrets.token_hex(8)
        names = [one.preferred.name for one in capabilities.required_for_turn()]
        turns, now_ms = manager.turns, manager.now_ms()
        beginning = asyncio.ensure_future(turns.begin(turn, request.session, names, now_ms=now_ms))
        leaving = asyncio.ensure_future(connection.receive())
        leaving.add_done_callback(lambda _: beginning.cancel())
        try:
            models = await beginning
        except asyncio.CancelledError:
            if not leaving.done():
                raise
            models = []
        finally:
            leaving.cancel()
        return {
            "id": turn,
            "session": request.session,
            "models": models,
            "limit_ms": turns.limit_ms,
        }

    @routes.delete("/v1/turns/{turn}", status_code=204, response_model=None)
    async def end_turn(turn: str) -> Response:
        if not manager.turns.end(turn):
            raise NotFound(what=f"turn {turn!r}")
        return Response(status_code=204)


def _show_model(runtime: ModelRuntime[Any]) -> dict[str, Any]:
    row: dict[str, Any] = {
        "id": runtime.model_id,
        "object": "model",
        "created": 0,
        "owned_by": "barnabee",
        "name": runtime.name,
        "task": runtime.task,
        "state": runtime.state.value,
    }
    if runtime.error is not None:
        row["error"] = {"code": runtime.error.code, "message": str(runtime.error)}
    try:
        engine: object = runtime.require_engine()
    except BarnabeeError:
        engine = None
    for kind in ("voices", "words"):
        row[kind] = list(getattr(engine, kind, ())) or None
    return row


def _show_memory(manager: VramManager) -> dict[str, Any]:
    gpu, reading, measured = (
        manager.ledger.gpu,
        manager.memory.reading,
        manager.memory.measured_memory(),
    )
    return {
        "name": gpu.name,
        "total_mib": gpu.vram_mib,
        "headroom_mib": gpu.headroom_mib,
        "charged_mib": manager.ledger.charged_mib,
        "held_mib": sum(model.held_mib for model in manager.ledger.resident.values()),
        "base_mib": manager.memory.baseline_mib,
        "other_mib": measured.other_mib,
        "free_mib": measured.free_mib,
        "measured_mib": reading.process_mib if reading else None,
    }


def _show_vram_model(manager: VramManager, name: str) -> dict[str, Any]:
    ledger, runtime = manager.ledger, manager.runtimes[name]
    reservation, resident, now_ms = (
        ledger.reservations[name],
        ledger.resident.get(name),
        manager.now_ms(),
    )
    leases = [lease for lease in ledger.leases.values() if lease.model == name]
    return {
        "name": name,
        "id": runtime.model_id,
        "task": runtime.task,
        "state": runtime.state.value,
        "priority": reservation.priority,
        "preload": reservation.preload,
        "declared_mib": reservation.declared_mib,
        "measured_mib": reservation.measured_mib,
        "charged_mib": reservation.charge_mib if resident else 0,
        "held_mib": resident.held_mib if resident else 0,
        "left_mib": reservation.left_mib,
        "reload_ms": reservation.reload_ms,
        "unused_ms": now_ms - resident.last_used_ms if resident else None,
        "leases": [
            {"session": lease.session, "left_ms": lease.until_ms - now_ms} for lease in leases
        ],
        "code": runtime.error.code if runtime.error else None,
    }


def _show_waiting(manager: VramManager) -> list[dict[str, Any]]:
    now_ms = manager.now_ms()
    return [
        {"model": request.model, "session": request.session, "waited_ms": now_ms - request.asked_ms}
        for request in manager.ledger.waiting
    ]


def _show_decision(at_s: float, event: LedgerEvent) -> dict[str, Any]:
    return {
        "at": round(at_s, 3),
        "decision": event.kind.value,
        "model": event.model,
        "reason": event.why,
        "code": event.code or None,
        "charged_mib": event.charged_mib,
        "session": event.request.session if event.request else None,
    }
