"""The worker's way to the services of the voice path: what `probing` asks with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from barnabee.clients import probe
from barnabee.workers.voice_probe import Situation

if TYPE_CHECKING:
    from barnabee.core.schema import System
    from barnabee.core.settings import Settings

LOOK_LIMIT_S = 2.0


class VoicePath:
    """Connections to gpu and api, made when first used."""

    def __init__(self, system: System, settings: Settings, token: str) -> None:
        """Read the recording; connect to nothing yet."""
        import httpx  # noqa: PLC0415 - 15 MiB that a worker without probes need not have

        from barnabee.clients.gpu import GpuClient, Names  # noqa: PLC0415 - see above

        limit_s = system.probe.limit_ms / 1000
        headers = {"Authorization": f"Bearer {token}"}
        self._question = probe.question()
        self._vram = f"{settings.gpu_service_urls[0]}/v1/vram"
        self._http = httpx.AsyncClient(base_url=settings.api_url, headers=headers, trust_env=False)
        gpu = GpuClient(
            settings.gpu_service_urls, token, names=Names.of(settings), timeout_s=limit_s
        )
        rate_hz, budgets_ms = system.voice.sample_rate_hz, probe.budgets_ms(system)
        self._way = probe.Way(gpu, self._http, rate_hz, budgets_ms, limit_s)

    async def ask(self) -> probe.Result:
        """Send the question along."""
        return await probe.run(self._way, self._question)

    async def look(self) -> Situation:
        """Return what the gpu service is doing; one that does not say is asked all the same."""
        import httpx  # noqa: PLC0415 - see above

        try:
            answer = await self._http.get(self._vram, timeout=LOOK_LIMIT_S)
            return Situation.read(answer.raise_for_status().json())
        except (httpx.HTTPError, ValueError, TypeError, AttributeError):
            return Situation()

    async def aclose(self) -> None:
        """Hang up."""
        await self._way.gpu.aclose()
        await self._http.aclose()
