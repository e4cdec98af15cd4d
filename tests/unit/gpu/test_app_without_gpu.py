"""Service configured for a GPU on a machine without GPU libraries."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

import httpx
from fastapi import FastAPI

from barnabee.core import system
from barnabee.core.auth import Authenticator
from barnabee.core.http import ServiceMiddleware
from barnabee.core.settings import Settings
from barnabee.gpu import engine_factory
from barnabee.gpu.app import build_inference_service
from barnabee.gpu.metrics import GpuMetrics
from support.fake_engines import FakeGpuMemory
from support.wait import wait_until

GRAPH = system.load_system(Path(__file__).parents[3] / "system.toml")


async def test_each_engine_reports_its_error_and_the_service_runs() -> None:
    settings, metrics = Settings(BARNABEE_DEVICE="cuda"), GpuMetrics("gpu")
    capabilities = engine_factory.make_capabilities(GRAPH, settings, metrics, FakeGpuMemory(16_384))
    running = build_inference_service(
        GRAPH, settings, capabilities=capabilities, access=Authenticator("made-up"), metrics=metrics
    )
    assert isinstance(running.app, ServiceMiddleware)
    assert isinstance(running.app.app, FastAPI)
    inner = running.app.app
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(inner.router.lifespan_context(inner))
        transport = httpx.ASGITransport(running.app)
        http = await stack.enter_async_context(
            httpx.AsyncClient(transport=transport, base_url="http://gpu")
        )
        await wait_until(
            lambda: all(
                capabilities.manager.has_attempted_load(one.preferred.name)
                for one in capabilities.all()
            )
        )
        assert (await http.get("/health/live")).status_code == 200
        headers = {"Authorization": "Bearer made-up"}
        ready = await http.get("/health/ready", headers=headers)
    assert ready.status_code == 503
    found = ready.json()["dependencies"]
    assert found["card"]["status"] == "healthy"
    assert "install onnxruntime-gpu" in found["stt"]["message"]
    assert "install the extra `gpu`" in found["tts"]["message"]
    assert {one["code"] for one in (found["stt"], found["tts"])} == {"misconfigured"}
    assert found["embed"]["status"] == "unhealthy"
