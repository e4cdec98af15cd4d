"""`WorkerSettings` for arq's own program, with the service's health and metrics.

Unlike `python -m barnabee.workers`, arq's program exits when Redis stays unreachable, and its
supervisor must restart it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from arq.connections import RedisSettings
from starlette.applications import Starlette

from barnabee.core import serve
from barnabee.core.errors import BarnabeeError
from barnabee.core.http import make_standard_routes
from barnabee.core.logging import configure_logging
from barnabee.core.redis_client import add_password
from barnabee.core.schema import System
from barnabee.core.settings import Settings, read_settings
from barnabee.core.system import load_system
from barnabee.workers.app import WorkerParts, cancel_tasks, make_front, make_parts
from barnabee.workers.jobs import make_arq_options
from barnabee.workers.loop import FINISH_S, release_claims
from barnabee.workers.retry import CONTEXT_KEY


class _HttpServer(uvicorn.Server):
    """HTTP server that leaves signal handling to arq."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def make_worker_settings() -> type:
    """Return the class that arq reads; exits with the error's status when the settings are bad."""
    try:
        system = load_system()
        settings = read_settings(system)
    except BarnabeeError as error:
        serve.exit_with_error(error)
    attributes = {
        **make_arq_options(),
        "redis_settings": RedisSettings.from_dsn(add_password(settings.redis_url, "worker")),
        "job_completion_wait": FINISH_S,
        "on_startup": _Service(system, settings).start,
        "on_shutdown": _stop,
    }
    return type("WorkerSettings", (), attributes)


class _Service:
    """Health and metrics beside arq's loop."""

    def __init__(self, system: System, settings: Settings) -> None:
        self._system = system
        self._settings = settings

    async def start(self, ctx: dict[Any, Any]) -> None:
        """Start the parts; arq calls this before it processes jobs."""
        logging.getLogger("arq").handlers.clear()  # they write plain text, the service writes JSON
        configure_logging("worker", level=self._settings.log_level)
        try:
            parts = make_parts(self._system, self._settings)
            port = self._system.port("worker")
            listener = serve.bind_socket("worker", self._settings.bind, port)
        except BarnabeeError as error:
            serve.exit_with_error(error)
        app = Starlette(routes=make_standard_routes(parts.health, parts.metrics))
        front = make_front(parts, app)
        server = _HttpServer(
            uvicorn.Config(front, log_config=None, access_log=False, lifespan="off")
        )
        ctx[CONTEXT_KEY] = parts.context
        ctx["parts"] = parts
        ctx["server"] = server
        ctx["tasks"] = [
            asyncio.create_task(server.serve(sockets=[listener]), name="http"),
            asyncio.create_task(serve.monitor_health(parts.health), name="watch"),
        ]
        ctx["monitoring"] = parts.start_monitoring()
        await release_claims(ctx)


async def _stop(ctx: dict[Any, Any]) -> None:
    server: _HttpServer = ctx["server"]
    parts: WorkerParts = ctx["parts"]
    http, watch = ctx["tasks"]
    watch.cancel()
    await cancel_tasks(ctx["monitoring"])
    server.should_exit = True
    await asyncio.gather(http, watch, return_exceptions=True)
    await parts.close()
