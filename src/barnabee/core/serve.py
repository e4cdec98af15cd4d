"""Service runner: port, event loop, readiness, systemd watchdog and graceful shutdown.

READY=1 is sent after the first ready report. The watchdog is fed from the event loop that serves
requests, so systemd restarts a service whose loop hangs.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import resource
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NoReturn, cast

import structlog
import uvicorn

from barnabee.core.connection_limits import ConnectionLimiter, HttpLimits
from barnabee.core.errors import BarnabeeError, PortTaken
from barnabee.core.health import HealthMonitor, HealthReport
from barnabee.core.http_limits import LimitedHttpProtocol, LimitedWebSocketProtocol
from barnabee.core.logging import configure_logging
from barnabee.core.settings import Settings, read_settings, read_variable, split_proxies
from barnabee.core.system import System, load_system
from barnabee.core.trusted_proxies import trust_proxies

if TYPE_CHECKING:
    from starlette.types import ASGIApp


# Interval of health checks: less than half of the 5 s in which a failure must be noticed.
HEALTH_INTERVAL_S = 2.0
SHUTDOWN_GRACE_S = 4
WEBSOCKET_MESSAGE_MAX_BYTES = 1024 * 1024  # the routes have smaller limits of their own
DESCRIPTORS_MAX = 65_536
UNACKNOWLEDGED_MAX_MS = 30_000  # then a peer without an answer is gone

log = structlog.get_logger()


@dataclass(frozen=True)
class ServiceApp:
    """Result of a service's application factory.

    Running requests get `shutdown_grace_s` after SIGTERM. `before_shutdown` ends connections that
    would stay open, such as event streams.
    """

    app: ASGIApp
    health: HealthMonitor
    shutdown_grace_s: int = SHUTDOWN_GRACE_S
    before_shutdown: Callable[[], Awaitable[None]] | None = None


ServiceFactory = Callable[[System, Settings], ServiceApp]


def run_service(component: str, factory: ServiceFactory) -> NoReturn:
    """Run the service until SIGTERM or SIGINT, then exit with 0, or with the code of its error."""
    try:
        config = load_system()
        settings = read_settings(config)
        configure_logging(
            component,
            level=settings.log_level,
            buffer_max_lines=config.logs.output_buffer_max_lines,
        )
        listener = bind_socket(component, settings.bind, config.port(component))
        with _export_spans(component, settings.otlp_endpoint) as instrument:
            service = factory(config, settings)
            proxies = split_proxies(settings.trusted_proxies)
            service = replace(service, app=trust_proxies(instrument(service.app), proxies))
            with asyncio.Runner(loop_factory=make_loop_factory()) as runner:
                runner.run(_serve(component, service, listener, proxies))
    except BarnabeeError as error:
        exit_with_error(error)
    sys.exit(0)


def _export_spans(
    component: str, endpoint: str
) -> AbstractContextManager[Callable[[ASGIApp], ASGIApp]]:
    if not endpoint:
        return nullcontext(lambda app: app)
    from barnabee.core.spans import export_spans  # noqa: PLC0415 - OpenTelemetry's SDK

    return export_spans(component, endpoint)


def exit_with_error(error: BarnabeeError) -> NoReturn:
    """Log `error`, write it to standard error, and exit with its exit code."""
    log.error("stopped", code=error.code, message=str(error))
    sys.stderr.write(f"{error.code}: {error}\n")
    sys.exit(error.exit_code)


def bind_socket(service: str, host: str, port: int) -> socket.socket:
    """Return a bound TCP socket; PortTaken names the owner of the port, if visible."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # Connections inherit both: a client that vanished without a FIN is noticed.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED_MAX_MS)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise PortTaken(port=port, service=service, owner=find_port_owner(port)) from error
    return listener


def find_port_owner(port: int) -> str:
    """Return `name (pid N)` of the process that listens on TCP `port`, for an error message."""
    import psutil  # noqa: PLC0415 - only needed for an error

    with suppress(psutil.Error):
        for connection in psutil.net_connections("tcp"):
            listening = connection.status == psutil.CONN_LISTEN
            address = connection.laddr
            if listening and connection.pid and address and address.port == port:
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
    return "another process"


async def monitor_health(health: HealthMonitor) -> None:
    """Run the health checks for ever, notify systemd of readiness and feed its watchdog."""
    interval_s = min(HEALTH_INTERVAL_S, watchdog_interval_s() or HEALTH_INTERVAL_S)
    is_announced = False
    previous: HealthReport | None = None
    while True:
        report = await health.report()
        if report.is_ready and not is_announced:
            is_announced = True
            notify("READY=1")
            log.info("ready", uptime_s=round(health.uptime_s, 2))
        if previous is None or report.state != previous.state:
            log.info("health", state=report.state.value, not_healthy=report.not_healthy)
        notify("WATCHDOG=1", f"STATUS={report.state.value}")
        previous = report
        await asyncio.sleep(interval_s)


def make_uvicorn_config(
    app: ASGIApp,
    grace_s: int,
    limits: HttpLimits | None = None,
    trusted_proxies: tuple[str, ...] = (),
) -> uvicorn.Config:
    descriptors = raise_descriptor_limit()
    limits = limits or HttpLimits()
    limits = replace(limits, connections_max=min(limits.connections_max, descriptors // 2))
    limiter = ConnectionLimiter(limits, trusted_proxies)
    http = functools.partial(LimitedHttpProtocol, limiter)
    websocket = functools.partial(LimitedWebSocketProtocol, limiter)
    return uvicorn.Config(
        app,
        http=cast("type[asyncio.Protocol]", http),
        ws=cast("type[asyncio.Protocol]", websocket),
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=grace_s,
        server_header=False,
        proxy_headers=False,  # uvicorn's default trusts every client on this machine
        date_header=False,
        ws_max_size=WEBSOCKET_MESSAGE_MAX_BYTES,
        # A packet of 256 KiB may decompress to 250 MB, and audio does not compress.
        ws_per_message_deflate=False,
    )


def raise_descriptor_limit() -> int:
    """Raise the limit of open files to the hard limit, at most `DESCRIPTORS_MAX`; return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS_MAX if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS_MAX)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


async def _serve(
    component: str, service: ServiceApp, listener: socket.socket, proxies: tuple[str, ...]
) -> None:
    config = make_uvicorn_config(service.app, service.shutdown_grace_s, trusted_proxies=proxies)
    server = _Server(config, service.before_shutdown)
    log.info("starting", port=listener.getsockname()[1])
    monitor = asyncio.create_task(_monitor_when_started(server, service.health), name="health")
    monitor.add_done_callback(lambda _task: setattr(server, "should_exit", True))
    for number in (signal.SIGTERM, signal.SIGINT):
        # uvicorn raises the signal again after its shutdown; the exit code is to be 0
        signal.signal(number, lambda *_: None)
    try:
        await server.serve(sockets=[listener])
    except Exception:  # supervisor: log any error before the process ends
        log.exception("crashed", code="internal", service=component)
        raise
    finally:
        notify("STOPPING=1")
        monitor.cancel()
        with suppress(asyncio.CancelledError):
            await monitor
    if not server.started:
        sys.exit(1)


class _Server(uvicorn.Server):
    """Calls `before_shutdown` before uvicorn closes WebSockets, so that they can send a reason."""

    def __init__(
        self, config: uvicorn.Config, before_shutdown: Callable[[], Awaitable[None]] | None
    ) -> None:
        super().__init__(config)
        self._before_shutdown = before_shutdown

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._before_shutdown:
            await self._before_shutdown()
        await super().shutdown(sockets)


async def _monitor_when_started(server: uvicorn.Server, health: HealthMonitor) -> None:
    # Objects made at startup are permanent: freeze them, and collect every 10,000 allocations
    # instead of every 700, which took a fifth of the time of a command.
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000)
    while not server.started:  # noqa: ASYNC110 - uvicorn offers no event for this
        await asyncio.sleep(0.02)
    await monitor_health(health)


def make_loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """Return the factory of uvloop event loops."""
    import uvloop  # noqa: PLC0415 - importing this module must not need it

    return uvloop.new_event_loop


def notify(*lines: str) -> bool:
    """Send `lines`, for example "READY=1"; return whether there is a notification socket."""
    address = read_variable("NOTIFY_SOCKET")
    if not address:
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.sendto("\n".join(lines).encode(), address)
    return True


def watchdog_interval_s() -> float | None:
    """Return half of systemd's watchdog timeout, or None without a watchdog."""
    value = read_variable("WATCHDOG_USEC")
    return int(value) / 2_000_000 if value.isdecimal() and int(value) > 0 else None
