"""The way from the command line to the api and the inference service."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import httpx

    from barnabee.clients.gpu import GpuClient


@dataclass(frozen=True)
class Way:
    """The way to the services."""

    api: httpx.AsyncClient
    gpu: GpuClient


@asynccontextmanager
async def opened(timeout_s: float) -> AsyncIterator[Way]:
    """Yield the way to the services of this machine, everything under one new trace id.

    As a unit with credentials this asks where the settings say, otherwise the run that `up`
    started; NotRunning when there is none.
    """
    import httpx
    import structlog

    from barnabee.clients.gpu import GpuClient, Names
    from barnabee.core import settings, system, trace_context

    # What the clients have to tell is not the command's answer.
    structlog.configure(logger_factory=lambda *_: structlog.PrintLogger(sys.stderr))
    told = settings.load(system.current())
    token = settings.credential("api_token")
    api_url, gpu_urls = told.api_url, told.gpu_service_urls
    if token is None:
        token, api_url, gpu_urls = _of_the_run(gpu_urls)
    trace_context.adopt(None)
    async with httpx.AsyncClient(
        base_url=api_url,
        headers={"Authorization": f"Bearer {token}", **trace_context.headers()},
        timeout=timeout_s,
        trust_env=False,
    ) as api:
        gpu = GpuClient(
            gpu_urls,
            token,
            names=Names.of(told),
            timeout_s=timeout_s,
            transport=httpx.AsyncHTTPTransport(),  # never through the user's proxy
        )
        try:
            yield Way(api, gpu)
        finally:
            await gpu.aclose()


def _of_the_run(told: tuple[str, ...]) -> tuple[str, str, tuple[str, ...]]:
    """Return token, api and inference services of the run that is alive."""
    from barnabee.up import local_config, paths, run_state

    run = run_state.running(paths.local())
    ports = {name: node.port for name, node in run.nodes.items()}
    elsewhere = bool(os.environ.get("GPU_SERVICE_URL"))  # as the run's own services are told
    gpu_urls = told if elsewhere else (f"http://127.0.0.1:{ports['gpu']}",)
    return local_config.token(paths.local()), f"http://127.0.0.1:{ports['api']}", gpu_urls
