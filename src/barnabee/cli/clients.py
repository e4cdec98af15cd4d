"""HTTP clients of the api and the inference service for the commands."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import httpx

    from barnabee.clients.gpu import GpuClient


@dataclass(frozen=True)
class ServiceClients:
    """Clients that share one trace id."""

    api: httpx.AsyncClient
    gpu: GpuClient


@asynccontextmanager
async def open_clients(timeout_s: float) -> AsyncIterator[ServiceClients]:
    """Yield clients of this machine's services; all requests have one new trace id.

    The addresses are those of the settings when a token is among the credentials (a systemd unit),
    otherwise those of the run that `up` started. Raises NotRunning when there is none.
    """
    import httpx
    import structlog

    from barnabee.clients.gpu import GpuClient, ModelNames
    from barnabee.core import settings, system, tracing

    # Log records of the clients must not mix with the command's output.
    structlog.configure(logger_factory=lambda *_: structlog.PrintLogger(sys.stderr))
    configured = settings.read_settings(system.get_system())
    admin = settings.read_credential("api_token")
    token = admin or settings.read_credential("talk_token")
    infer = admin or settings.read_credential("infer_token") or ""
    api_url, gpu_urls = configured.api_url, configured.gpu_service_urls
    if token is None:
        token, api_url, gpu_urls = _read_local_run(gpu_urls)
        infer = token
    tracing.adopt_trace_id(None)
    async with httpx.AsyncClient(
        base_url=api_url,
        headers={"Authorization": f"Bearer {token}", **tracing.make_headers()},
        timeout=timeout_s,
        trust_env=False,
    ) as api:
        gpu = GpuClient(
            gpu_urls,
            infer,
            names=ModelNames.from_settings(configured),
            timeout_s=timeout_s,
            transport=httpx.AsyncHTTPTransport(),  # never through the user's proxy
        )
        try:
            yield ServiceClients(api, gpu)
        finally:
            await gpu.aclose()


def _read_local_run(configured_gpu_urls: tuple[str, ...]) -> tuple[str, str, tuple[str, ...]]:
    """Return token, api URL and inference URLs of the current run."""
    from barnabee.core.settings import read_variable
    from barnabee.up import deployment, paths, run_state

    local = paths.local_paths()
    run = run_state.require_running(local)
    ports = {name: node.port for name, node in run.nodes.items()}
    gpu_urls = configured_gpu_urls
    if not read_variable("GPU_SERVICE_URL"):  # the run's services use it as well
        gpu_urls = (f"http://127.0.0.1:{ports['gpu']}",)
    return deployment.read_api_token(local), f"http://127.0.0.1:{ports['api']}", gpu_urls
