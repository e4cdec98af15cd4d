"""Health checks of the voice service. Its dependencies are soft: recordings announce an outage."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from barnabee.core.errors import StillLoading
from barnabee.core.health import Degraded, HealthCheck, HealthProbe


def make_checks(
    *,
    gpu: HealthProbe,
    api: HealthProbe,
    recordings: Callable[[], Awaitable[Degraded | None]],
    ready: Callable[[], bool],
) -> list[HealthCheck]:

    async def pipeline() -> Degraded | None:
        if not ready():
            raise StillLoading(what="the voice pipeline")
        return None

    return [
        HealthCheck("pipeline", pipeline, hard=True),
        HealthCheck("gpu", gpu, hard=False),
        HealthCheck("api", api, hard=False),
        HealthCheck("recordings", recordings, hard=False),
    ]


def make_recordings_probe(
    folder: Path, problem: str | None
) -> Callable[[], Awaitable[Degraded | None]]:

    async def probe() -> Degraded | None:
        return Degraded("recordings_missing", f"{folder}: {problem}") if problem else None

    return probe
