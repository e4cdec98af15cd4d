"""The inference service on a socket, with a wake word engine that the test controls."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

from barnabee.testing.engines import FakeWakeWordEngine
from support.gpu_app import TOKEN, RunningService, ServiceStarter
from support.serve import served
from support.wake_link import WakeConnection, open_wake_stream


@dataclass
class House:
    """The service on a socket, and its engine."""

    service: RunningService
    engine: FakeWakeWordEngine
    url: str

    def open(self, **query: object) -> AbstractAsyncContextManager[WakeConnection]:
        return open_wake_stream(self.url, TOKEN, **query)

    async def metric(self, name: str) -> float:
        text = (await self.service.client.get("/metrics")).text
        lines = [line for line in text.splitlines() if line.startswith(name)]
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines)

    async def counts(self, name: str, value: float) -> bool:
        """Return whether a metric has come to `value`."""
        return await self.metric(name) == value


@asynccontextmanager
async def house(start: ServiceStarter, engine: FakeWakeWordEngine | None = None) -> AsyncIterator[House]:
    engine = engine or FakeWakeWordEngine()
    service = await start(wake=lambda: engine)
    async with served(service.running.app, lifespan="off") as url:
        yield House(service, engine, url)
