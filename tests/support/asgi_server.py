"""ASGI application on a real socket, in the event loop of the test."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

import uvicorn

from barnabee.core import serve
from barnabee.core.connection_limits import HttpLimits


@asynccontextmanager
async def serve_app(
    app: Any,
    port: int = 0,
    *,
    lifespan: Literal["auto", "off"] = "auto",
    bind: str = "127.0.0.1",
    limits: HttpLimits | None = None,
) -> AsyncIterator[str]:
    """Serve `app` inside the block; yield its URL."""
    # Without an explicit protocol asyncio sets no TCP_NODELAY: responses wait 40 ms for an ACK.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((bind, port))
    config = serve.make_uvicorn_config(app, 1, limits)
    config.lifespan = lifespan
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    listener.listen(128)  # connections wait in the backlog until the server takes them
    task = asyncio.create_task(server._serve([listener]))
    try:
        yield f"http://{bind}:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await task
        listener.close()
