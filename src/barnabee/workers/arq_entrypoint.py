"""What `arq barnabee.workers.WorkerSettings` needs: arq owns the loop, we bring health and metrics.

The difference to `python -m barnabee.workers`: arq's program ends when Redis stays away, and then
whatever supervises it starts it again.
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

from barnabee.core import logging as barnabee_logging
from barnabee.core import serve, settings, system
from barnabee.core.errors import BarnabeeError
from barnabee.core.http import standard_routes
from barnabee.workers.app import Parts, end, make_front, make_parts
from barnabee.workers.context import KEY
from barnabee.workers.jobs import options
from barnabee.workers.loop import FINISH_S, take_over


class _Server(uvicorn.Server):
    """An HTTP server that leaves the signals to arq."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


def worker_settings() -> type:
    """Return the class that arq reads; the process ends with our code when it cannot be made."""
    try:
        graph = system.load()
        chosen = settings.load(graph)
    except BarnabeeError as error:
        serve.fail(error)
    attributes = {
        **options(),
        "redis_settings": RedisSettings.from_dsn(chosen.redis_url),
        "job_completion_wait": FINISH_S,
        "on_startup": _Service(graph, chosen).start,
        "on_shutdown": _stop,
    }
    return type("WorkerSettings", (), attributes)


class _Service:
    """Health and metrics beside arq's loop."""

    def __init__(self, graph: system.System, chosen: settings.Settings) -> None:
        self._graph = graph
        self._chosen = chosen

    async def start(self, ctx: dict[Any, Any]) -> None:
        """Open everything; arq calls this before it looks for jobs."""
        logging.getLogger("arq").handlers.clear()  # arq's program writes plain text; ours is JSON
        barnabee_logging.configure("worker", level=self._chosen.log_level)
        try:
            parts = make_parts(self._graph, self._chosen)
            port = self._graph.port("worker")
            listener = serve.listen("worker", self._chosen.bind, port)
        except BarnabeeError as error:
            serve.fail(error)
        app = Starlette(routes=standard_routes(parts.health, parts.metrics))
        front = make_front(parts, app)
        server = _Server(uvicorn.Config(front, log_config=None, access_log=False, lifespan="off"))
        ctx[KEY] = parts.context
        ctx["parts"] = parts
        ctx["server"] = server
        ctx["tasks"] = [
            asyncio.create_task(server.serve(sockets=[listener]), name="http"),
            asyncio.create_task(serve.watch(parts.health), name="watch"),
        ]
        ctx["watching"] = parts.start_watching()
        await take_over(ctx)


async def _stop(ctx: dict[Any, Any]) -> None:
    server: _Server = ctx["server"]
    parts: Parts = ctx["parts"]
    http, watch = ctx["tasks"]
    watch.cancel()
    await end(ctx["watching"])
    server.should_exit = True
    await asyncio.gather(http, watch, return_exceptions=True)
    await parts.close()
