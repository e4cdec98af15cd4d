"""The whole service with the engines of a card, where the card can be read but nothing else is."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

import httpx
from fastapi import FastAPI

from barnabee.core import system
from barnabee.core.auth import Access
from barnabee.core.http import Front
from barnabee.core.settings import Settings
from barnabee.gpu import engine_factory
from barnabee.gpu.app import build
from barnabee.gpu.metrics import GpuMetrics
from barnabee.testing.gpu_memory import FakeCard
from support.wait import until

GRAPH = system.load(Path(__file__).parents[3] / "system.toml")


async def test_each_engine_fails_with_its_own_sentence_and_the_service_lives() -> None:
    settings, metrics = Settings(BARNABEE_DEVICE="cuda"), GpuMetrics("gpu")
    tasks = engine_factory.build(GRAPH, settings, metrics, FakeCard(16_384))
    running = build(GRAPH, settings, tasks=tasks, access=Access("made-up"), metrics=metrics)
    assert isinstance(running.app, Front)
    assert isinstance(running.app.app, FastAPI)
    inner = running.app.app
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(inner.router.lifespan_context(inner))
        transport = httpx.ASGITransport(running.app)
        http = await stack.enter_async_context(
            httpx.AsyncClient(transport=transport, base_url="http://gpu")
        )
        await until(lambda: all(tasks.manager.was_tried(task.first.name) for task in tasks.all()))
        assert (await http.get("/health/live")).status_code == 200
        ready = await http.get("/health/ready")
    assert ready.status_code == 503
    found = ready.json()["dependencies"]
    assert found["card"]["status"] == "healthy"
    assert "install onnxruntime-gpu" in found["stt"]["message"]
    assert "install the extra `gpu`" in found["tts"]["message"]
    assert {one["code"] for one in (found["stt"], found["tts"])} == {"misconfigured"}
    assert found["embed"]["status"] == "unhealthy"
