"""Application factory of the Wyoming service: its server, health checks and metrics."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from socket import gethostname

import psutil
import structlog
from starlette.applications import Starlette
from zeroconf import Error as ZeroconfError
from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

from barnabee.clients.api import ApiClient
from barnabee.clients.gpu import GpuClient, ModelNames
from barnabee.clients.load_balancer import WakeServerPool
from barnabee.core import serve
from barnabee.core.auth import make_token_reader, open_authenticator
from barnabee.core.errors import StillLoading
from barnabee.core.health import HealthCheck, HealthMonitor, HealthProbe
from barnabee.core.http import ServiceMiddleware, add_error_handlers, make_standard_routes
from barnabee.core.metrics import Metrics
from barnabee.core.schema import System
from barnabee.core.serve import ServiceApp
from barnabee.core.settings import Settings
from barnabee.core.tokens import Scope
from barnabee.wyoming.requests import RequestHandler, Services
from barnabee.wyoming.server import Connection, WyomingServer

COMMAND_TIMEOUT_S = 20.0  # an answer of the language model, and one retry
MODEL_TIMEOUT_MARGIN_S = 5  # beyond gpu.wait_limit_ms, in which a model may be loaded
BODY_MAX_BYTES = 1024
SERVICE_TYPE = "_wyoming._tcp.local."
LOOPBACK = ("127.", "::1", "localhost")

log = structlog.get_logger()


def build(system: System, settings: Settings) -> ServiceApp:
    """Return the service; the port of Wyoming is opened when it starts."""
    services = make_services(system, settings)
    metrics = Metrics("wyoming")

    def make_handler(connection: Connection) -> RequestHandler:
        return RequestHandler(connection, services)

    server = WyomingServer(make_handler, metrics)

    checks = make_checks(server, api=services.api.ready, gpu=services.gpu.ready)
    monitor = HealthMonitor("wyoming", checks, metrics)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        bind, port = settings.wyoming_bind or system.wyoming.bind, system.wyoming.port
        await server.start(serve.bind_socket("wyoming", bind, port))
        async with announce(bind, port):
            yield
        await server.stop()
        await services.api.aclose()
        await services.gpu.aclose()

    app = Starlette(routes=make_standard_routes(monitor, metrics), lifespan=lifespan)
    add_error_handlers(app)
    middleware = ServiceMiddleware(app, metrics, open_authenticator(), BODY_MAX_BYTES)
    return ServiceApp(middleware, monitor)


def make_checks(server: WyomingServer, *, api: HealthProbe, gpu: HealthProbe) -> list[HealthCheck]:

    async def check_server() -> None:
        if not server.is_serving:
            raise StillLoading(what="the Wyoming server")

    return [
        HealthCheck("server", check_server, hard=True),
        HealthCheck("api", api, hard=False),
        HealthCheck("gpu", gpu, hard=False),
    ]


def make_services(system: System, settings: Settings) -> Services:
    """Return the clients of the other services; they connect on demand."""
    urls, infer = settings.gpu_service_urls, make_token_reader(Scope.INFER)
    timeout_s = system.gpu.wait_limit_ms / 1000 + MODEL_TIMEOUT_MARGIN_S
    return Services(
        system,
        ApiClient(settings.api_url, make_token_reader(Scope.TALK), timeout_s=COMMAND_TIMEOUT_S),
        GpuClient(urls, infer, names=ModelNames.from_settings(settings), timeout_s=timeout_s),
        WakeServerPool(urls),
        infer,
    )


@asynccontextmanager
async def announce(bind: str, port: int) -> AsyncIterator[None]:
    """Announce the server by mDNS while it runs, unless it is this machine's alone."""
    if bind.startswith(LOOPBACK):
        yield
        return
    name = f"BarnabeeNet {gethostname()}"
    own = [one.address for listed in psutil.net_if_addrs().values() for one in listed]
    ipv4 = [found for found in own if "." in found and not found.startswith(LOOPBACK)]
    addresses = ipv4 if bind in {"0.0.0.0", "::"} else [bind]
    info = AsyncServiceInfo(
        SERVICE_TYPE, f"{name}.{SERVICE_TYPE}", port=port, parsed_addresses=addresses
    )
    zeroconf = AsyncZeroconf()
    try:
        try:
            await zeroconf.async_register_service(info)
        except (ZeroconfError, OSError) as error:
            log.warning("not_announced", code="mdns", reason=str(error))
        yield
    finally:
        with suppress(ZeroconfError, OSError):
            await zeroconf.async_close()
