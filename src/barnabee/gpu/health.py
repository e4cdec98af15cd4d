"""What this service depends on: its three engines.

Each engine alone is soft: a house that cannot speak can still be told in writing to switch a light,
and one that cannot embed can still hear. What is hard is that the service has finished starting and
that at least one engine works, so readiness comes only after every engine did (or failed) its first
inference, and a service without any engine is unhealthy.
"""

from __future__ import annotations

from typing import Any

from barnabee.core.errors import DependencyDown, Loading
from barnabee.core.health import Check, Degraded
from barnabee.gpu.slots import Slot, Slots, State


def checks(slots: Slots) -> list[Check]:
    """Return the checks of this service."""

    def one(slot: Slot[Any]) -> Check:
        async def probe() -> Degraded | None:
            slot.check()
            return None

        return Check(slot.task, probe, hard=False)

    async def engines() -> Degraded | None:
        states = {slot.model: slot.state for slot in slots.all()}
        loading = [model for model, state in states.items() if state is State.LOADING]
        if loading:
            raise Loading(what=", ".join(loading))
        if State.READY not in states.values():
            raise DependencyDown(dependency="every engine", reason="none could be loaded")
        return None

    return [*(one(slot) for slot in slots.all()), Check("engines", engines, hard=True)]
