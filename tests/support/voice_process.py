"""Voice service as a process, with fake engines and a fake API."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from support.asgi_server import serve_app
from support.gpu_app import ServiceStarter
from support.voice import FakeApi, VoiceProcess


@asynccontextmanager
async def run_voice_process(directory: Path) -> AsyncIterator[VoiceProcess]:
    async with AsyncExitStack() as stack:
        service = await ServiceStarter(stack)()
        gpu_url = await stack.enter_async_context(serve_app(service.running.app, lifespan="off"))
        api_url = await stack.enter_async_context(serve_app(FakeApi().app()))
        running = await VoiceProcess(directory, gpu_url, api_url).start()
        try:
            yield running
        finally:
            if running.process and running.process.poll() is None:
                running.stop(signal.SIGKILL)
