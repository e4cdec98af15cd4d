"""GET /v1/vram: what the card holds, for whom, who waits, and the last decisions and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import APIRouter

if TYPE_CHECKING:
    from barnabee.gpu.capabilities import Tasks
    from barnabee.gpu.vram.events import Entry
    from barnabee.gpu.vram.manager import Manager


def router(tasks: Tasks) -> APIRouter:
    """Return the route."""
    routes = APIRouter()

    @routes.get("/v1/vram")
    async def vram() -> dict[str, Any]:
        """Return the ledger; memory in MiB, times in ms, the newest decision last."""
        manager = tasks.manager
        return {
            "card": _card(manager),
            "models": [_model(manager, name) for name in manager.ledger.claims],
            "turns": {name: turn.session for name, turn in manager.turns},
            "waiting": _waiting(manager),
            "decisions": [_decision(*pair) for pair in manager.decisions],
        }

    return routes


def _card(manager: Manager) -> dict[str, Any]:
    card, reading, sight = manager.ledger.card, manager.view.reading, manager.view.sight()
    return {
        "name": card.name,
        "total_mib": card.vram_mib,
        "headroom_mib": card.headroom_mib,
        "charged_mib": manager.ledger.charged_mib,
        "held_mib": sum(model.held_mib for model in manager.ledger.resident.values()),
        "base_mib": manager.view.base_mib,
        "other_mib": sight.other_mib,
        "free_mib": sight.free_mib,
        "measured_mib": reading.ours_mib if reading else None,
    }


def _model(manager: Manager, name: str) -> dict[str, Any]:
    ledger, slot = manager.ledger, manager.slots[name]
    claim, here, now_ms = ledger.claims[name], ledger.resident.get(name), manager.now_ms()
    users = [lease for lease in ledger.leases.values() if lease.model == name]
    return {
        "name": name,
        "id": slot.model,
        "task": slot.task,
        "state": slot.state.value,
        "priority": claim.priority,
        "preload": claim.preload,
        "declared_mib": claim.declared_mib,
        "measured_mib": claim.measured_mib,
        "charged_mib": claim.charge_mib if here else 0,
        "held_mib": here.held_mib if here else 0,
        "left_mib": claim.left_mib,
        "reload_ms": claim.reload_ms,
        "unused_ms": now_ms - here.last_used_ms if here else None,
        "leases": [
            {"session": lease.session, "left_ms": lease.until_ms - now_ms} for lease in users
        ],
        "code": slot.error.code if slot.error else None,
    }


def _waiting(manager: Manager) -> list[dict[str, Any]]:
    now_ms = manager.now_ms()
    return [
        {"model": one.model, "session": one.session, "waited_ms": now_ms - one.asked_ms}
        for one in manager.ledger.waiting
    ]


def _decision(at_s: float, entry: Entry) -> dict[str, Any]:
    return {
        "at": round(at_s, 3),
        "decision": entry.kind.value,
        "model": entry.model,
        "reason": entry.why,
        "code": entry.code or None,
        "charged_mib": entry.charged_mib,
        "session": entry.request.session if entry.request else None,
    }
