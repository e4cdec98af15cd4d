"""The inference service on a socket, with a wake word engine that the test controls."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

from barnabee.testing.engines import FakeWakeWords
from support.gpu_app import TOKEN, Service, Starter
from support.serve import served
from support.wake_link import Link, listening


@dataclass
class House:
    """The service on a socket, and its engine."""

    service: Service
    engine: FakeWakeWords
    url: str

    def open(self, **query: object) -> AbstractAsyncContextManager[Link]:
        return listening(self.url, TOKEN, **query)

    async def metric(self, name: str) -> float:
        text = (await self.service.client.get("/metrics")).text
        lines = [line for line in text.splitlines() if line.startswith(name)]
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines)

    async def counts(self, name: str, value: float) -> bool:
        """Return whether a metric has come to `value`."""
        return await self.metric(name) == value


@asynccontextmanager
async def house(start: Starter, engine: FakeWakeWords | None = None) -> AsyncIterator[House]:
    engine = engine or FakeWakeWords()
    service = await start(wake=lambda: engine)
    async with served(service.running.app, lifespan="off") as url:
        yield House(service, engine, url)
