"""Runs one service: port, event loop, readiness, watchdog, clean end.

READY goes to systemd after the first good readiness, and the watchdog is fed by the same event
loop that serves requests, so a loop that hangs is restarted. This is a supervisor: it may catch
anything, because the last thing a process does is say in one sentence why it ends.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

import structlog
import uvicorn

from barnabee.core import logging as barnabee_logging
from barnabee.core import sd_notify, settings, system
from barnabee.core.errors import BarnabeeError, PortTaken
from barnabee.core.health import Health, Report
from barnabee.core.tracing import SPANS

if TYPE_CHECKING:
    from starlette.types import ASGIApp

# How often a service looks at what it depends on; half of the 5 s in which a failure must be seen.
LOOK_EVERY_S = 2.0
GRACE_S = 4
WS_MESSAGE_MAX = 1024 * 1024  # bytes; routes have smaller limits and say so in a sentence

log = structlog.get_logger()


@dataclass(frozen=True)
class Running:
    """What an application factory returns: the ASGI application, its health, its way of ending."""

    app: ASGIApp
    health: Health
    grace_s: int = GRACE_S  # how long running requests may finish after SIGTERM
    farewell: Callable[[], Awaitable[None]] | None = None  # ends what would never end by itself


Factory = Callable[[system.System, settings.Settings], Running]


def run(component: str, factory: Factory) -> NoReturn:
    """Run the service `component` until it is told to stop; exit with its code."""
    try:
        graph = system.load()
        chosen = settings.load(graph)
        SPANS.configure(component, chosen.otlp_endpoint)
        barnabee_logging.configure(
            component,
            level=chosen.log_level,
            unwritten_max_lines=graph.logs.unwritten_max_lines,
            watcher=SPANS.of_line if SPANS.sink is not None else None,
        )
        listener = listen(component, chosen.bind, graph.port(component))
        running = factory(graph, chosen)
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            runner.run(_serve(component, running, listener))
        SPANS.close()
    except BarnabeeError as error:
        fail(error)
    sys.exit(0)


def fail(error: BarnabeeError) -> NoReturn:
    """Say `error` once for people and once for machines, and exit with its code."""
    log.error("stopped", code=error.code, message=str(error))
    sys.stderr.write(f"{error.code}: {error}\n")
    sys.exit(error.exit_code)


def listen(service: str, host: str, port: int) -> socket.socket:
    """Return a bound TCP socket; PortTaken names who has the port, where that can be seen."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise PortTaken(port=port, service=service, owner=port_owner(port)) from error
    return listener


def port_owner(port: int) -> str:
    """Return `name (pid N)` of whoever listens on TCP `port`, or that it cannot be seen."""
    import psutil  # noqa: PLC0415 - only on the way to an error

    with suppress(psutil.Error):
        for connection in psutil.net_connections("tcp"):
            listening = connection.status == psutil.CONN_LISTEN
            address = connection.laddr
            if listening and connection.pid and address and address.port == port:
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
    return "a process that cannot be seen from here"


async def watch(health: Health) -> None:
    """Look at the dependencies for ever: keeps gauges fresh, tells systemd, feeds the watchdog."""
    interval_s = min(LOOK_EVERY_S, sd_notify.watchdog_interval_s() or LOOK_EVERY_S)
    announced = False
    before: Report | None = None
    while True:
        report = await health.report()
        if report.ready and not announced:
            announced = True
            sd_notify.notify("READY=1")
            log.info("ready", uptime_s=round(health.uptime_s, 2))
        if before is None or report.state != before.state:
            log.info("health", state=report.state.value, not_healthy=report.degraded)
        sd_notify.notify("WATCHDOG=1", f"STATUS={report.state.value}")
        before = report
        await asyncio.sleep(interval_s)


def config(app: ASGIApp, grace_s: int) -> uvicorn.Config:
    """Return how every service is served."""
    return uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=grace_s,
        server_header=False,
        date_header=False,
        ws_max_size=WS_MESSAGE_MAX,
        # Reading stops when a message waits, but one packet of 256 KiB may unfold to 250 MB of
        # messages; and sound does not get smaller.
        ws_per_message_deflate=False,
    )


async def _serve(component: str, running: Running, listener: socket.socket) -> None:
    server = _Server(config(running.app, running.grace_s), running.farewell)
    log.info("starting", port=listener.getsockname()[1])
    watcher = asyncio.create_task(_watch_when_started(server, running.health), name="watch")
    watcher.add_done_callback(lambda _task: setattr(server, "should_exit", True))
    for number in (signal.SIGTERM, signal.SIGINT):
        # uvicorn raises the signal again once it has stopped; a clean end is exit code 0
        signal.signal(number, lambda *_: None)
    try:
        await server.serve(sockets=[listener])
    except Exception:  # a supervisor: whatever it was, the log must have it before the process ends
        log.exception("crashed", code="internal", service=component)
        raise
    finally:
        sd_notify.notify("STOPPING=1")
        watcher.cancel()
        with suppress(asyncio.CancelledError):
            await watcher
    if not server.started:
        sys.exit(1)


class _Server(uvicorn.Server):
    """uvicorn, which would cut open WebSockets off before they can say why they end."""

    def __init__(
        self, config: uvicorn.Config, farewell: Callable[[], Awaitable[None]] | None
    ) -> None:
        super().__init__(config)
        self._farewell = farewell

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._farewell:
            await self._farewell()
        await super().shutdown(sockets)


async def _watch_when_started(server: uvicorn.Server, health: Health) -> None:
    # What was made so far stays for good: keep the collector from walking it again and again, and
    # from running every 700 objects, which takes a fifth of the time of a command otherwise.
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000)
    while not server.started:  # noqa: ASYNC110 - uvicorn offers no event for this
        await asyncio.sleep(0.02)
    await watch(health)


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """Return what makes a uvloop event loop."""
    import uvloop  # noqa: PLC0415 - not needed to load this module in tests

    return uvloop.new_event_loop
