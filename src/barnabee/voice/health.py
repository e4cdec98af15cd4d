"""What this service depends on: nothing it cannot do without, but it says aloud what is missing.

Without the inference service it is deaf and dumb but for its recordings, without the api it can
only say so, without recordings it has neither fillers nor words for those moments.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from barnabee.core.errors import Loading
from barnabee.core.health import Check, Degraded, Probe


def checks(
    *,
    gpu: Probe,
    api: Probe,
    recordings: Callable[[], Awaitable[Degraded | None]],
    ready: Callable[[], bool],
) -> list[Check]:
    """Return the checks of this service."""

    async def pipeline() -> Degraded | None:
        if not ready():
            raise Loading(what="the voice pipeline")
        return None

    return [
        Check("pipeline", pipeline, hard=True),
        Check("gpu", gpu, hard=False),
        Check("api", api, hard=False),
        Check("recordings", recordings, hard=False),
    ]


def recorded(folder: Path, missing: str | None) -> Callable[[], Awaitable[Degraded | None]]:
    """Return the check of the recorded phrases: `missing` is what was wrong with them."""

    async def probe() -> Degraded | None:
        return Degraded("recordings_missing", f"{folder}: {missing}") if missing else None

    return probe
