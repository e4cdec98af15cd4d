"""Wyoming server with fake engines and a fake api behind it, and its clients."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from wyoming.client import AsyncTcpClient
from wyoming.event import Event, Eventable

from barnabee.clients.api import ApiClient
from barnabee.clients.gpu import GpuClient
from barnabee.clients.load_balancer import WakeServerPool
from barnabee.core import system
from barnabee.core.metrics import Metrics
from barnabee.wyoming.requests import RequestHandler, Services
from barnabee.wyoming.server import Connection, WyomingServer
from support.asgi_server import serve_app
from support.fake_engines import FakeSynthesizer, FakeTranscriber, FakeWakeWordEngine
from support.gpu_app import TOKEN, ServiceStarter
from support.voice import FakeApi


@dataclass
class WyomingStack:
    """Running server and the fakes behind it."""

    port: int
    services: Services
    server: WyomingServer
    metrics: Metrics
    api: FakeApi
    transcriber: FakeTranscriber
    wake: FakeWakeWordEngine

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[AsyncTcpClient]:
        async with AsyncTcpClient("127.0.0.1", self.port) as client:
            yield client

    async def ask(self, *messages: Eventable | Event, until: str) -> list[Event]:
        """Send the events over one connection; return the answers up to the type `until`."""
        async with self.connect() as client:
            for message in messages:
                event = message if isinstance(message, Event) else message.event()
                await client.write_event(event)
            return await read_until(client, until)


async def read_until(client: AsyncTcpClient, kind: str) -> list[Event]:
    """Return the next events up to one of the type `kind`, an error, or the end."""
    events: list[Event] = []
    while (event := await client.read_event()) is not None:
        events.append(event)
        if event.type in {kind, "error"}:
            break
    return events


@asynccontextmanager
async def run_wyoming_stack(
    transcriber: FakeTranscriber | None = None,
) -> AsyncIterator[WyomingStack]:
    """Serve the Wyoming server, an inference service with fake engines, and a fake api."""
    async with AsyncExitStack() as stack:
        stt, wake, api = transcriber or FakeTranscriber(), FakeWakeWordEngine(), FakeApi()
        start = ServiceStarter(stack)
        service = await start(stt=lambda: stt, tts=FakeSynthesizer, wake=lambda: wake)
        gpu_url = await stack.enter_async_context(serve_app(service.running.app, lifespan="off"))
        api_url = await stack.enter_async_context(serve_app(api.app()))
        services = Services(
            system.load_system(),
            ApiClient(api_url, TOKEN, timeout_s=10),
            GpuClient(gpu_url, TOKEN),
            WakeServerPool([gpu_url]),
            TOKEN,
        )
        stack.push_async_callback(services.api.aclose)
        stack.push_async_callback(services.gpu.aclose)

        def make_handler(connection: Connection) -> RequestHandler:
            return RequestHandler(connection, services)

        metrics = Metrics("wyoming")
        server = WyomingServer(make_handler, metrics)
        listener = socket.create_server(("127.0.0.1", 0))
        await server.start(listener)
        stack.push_async_callback(server.stop)
        yield WyomingStack(listener.getsockname()[1], services, server, metrics, api, stt, wake)
