"""Health checks of the inference service: each preloaded capability, the engines, the VRAM manager.

A single capability is a soft dependency: without speech, commands can still be typed. Hard are that
start-up has ended, that one engine works, and that neither an inference nor the manager hangs,
because all later requests would wait for them.
"""

from __future__ import annotations

from typing import Any

from barnabee.core.errors import StillLoading
from barnabee.core.health import Degraded, HealthCheck
from barnabee.gpu.capabilities import Capabilities, Capability
from barnabee.gpu.model_runtime import RuntimeState


def make_checks(capabilities: Capabilities) -> list[HealthCheck]:
    def make_capability_check(capability: Capability[Any]) -> HealthCheck:
        async def check_capability() -> Degraded | None:
            reading_error = capabilities.manager.memory.error
            if reading_error and capability.preferred.state is RuntimeState.ABSENT:
                raise reading_error  # the model waits for a memory reading, not for its files
            return capability.check_health()

        return HealthCheck(capability.name, check_capability, hard=False)

    async def check_engines() -> None:
        has_attempted_load = capabilities.manager.has_attempted_load
        preferred = [capability.preferred for capability in capabilities.always_loaded()]
        pending = [one.model_id for one in preferred if not has_attempted_load(one.name)]
        if pending:
            raise StillLoading(what=", ".join(pending))
        capabilities.check_any_ready()

    async def check_manager() -> None:
        capabilities.manager.check()

    return [
        *(make_capability_check(capability) for capability in capabilities.always_loaded()),
        HealthCheck("engines", check_engines, hard=True),
        HealthCheck("card", check_manager, hard=True),
    ]
